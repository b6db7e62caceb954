"""What is made of the description of the registers: a page, a C header, a Python class.

`python -m hw.register_files` writes them where they belong in the checkout.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hw.cli import CommandParser
from hw.files import write_files
from hw.registers import ACCESSES, TILE_REGISTERS, Register, RegisterField

__all__ = ["c_header", "files", "main", "page", "python_class"]

_ROOT = Path(__file__).parents[1]

_COMMAND = "python -m hw.register_files"
_MADE = f"Made from hw/registers.py by `{_COMMAND}`."

_PAGE = """\
# Registers of a tile

{made} What they do and how to use them:
[tile behind AXI](axi_tile.md).

Registers have 32 bits, at byte offsets. Bits that are not listed read 0. An offset at which the
tile has no register answers SLVERR: `pattern` without `--flexible`, `shift` without `--shift
static`, those of the scales without `--criterion scaled`, words of scales beyond those of a group.

| offset | register | what it is |
|---|---|---|
{registers}

| register | bits | field | access | after reset | what it means |
|---|---|---|---|---|---|
{fields}

Access: {accesses}.
"""

_HEADER = """\
/*
 * Registers of a tile behind AXI4-Lite.  C99, nothing needed but <stdint.h>.
 *
 * {made}
 *
 * NM_TILE_<REGISTER>                 offset in bytes
 * NM_TILE_<REGISTER>_COUNT           how many there are, 4 bytes apart, where it is more than one
 * NM_TILE_<REGISTER>_<FIELD>_SHIFT   lowest bit of a field
 * NM_TILE_<REGISTER>_<FIELD>_MASK    its bits
 */

#ifndef NM_TILE_H
#define NM_TILE_H

#include <stdint.h>

{defines}

/* A field of what was read, and a value as a field to be written. */
#define NM_TILE_GET(word, field) (((uint32_t)(word) & field##_MASK) >> field##_SHIFT)
#define NM_TILE_PUT(value, field) (((uint32_t)(value) << field##_SHIFT) & field##_MASK)

#endif
"""

#: The place of the fields in the Python class, which is written by hand but for them.
_BLOCK = re.compile(r"(?<=^FIELDS = \{\n).*?(?=^\})", re.MULTILINE | re.DOTALL)


def _fields(registers: Iterable[Register]) -> Iterator[tuple[Register, RegisterField]]:
    for register in registers:
        for field in register.fields:
            yield register, field


def page(registers: Sequence[Register] = TILE_REGISTERS) -> str:
    """The page of the documentation."""

    def offsets(register: Register) -> str:
        last = register.offset + 4 * (register.count - 1)
        return f"0x{register.offset:03X}" + (f" to 0x{last:03X}" if register.count > 1 else "")

    def bits(field: RegisterField) -> str:
        return f"{field.low + field.width - 1}:{field.low}" if field.width > 1 else f"{field.low}"

    def names(register: Register) -> str:
        return f"`{register.name}`" + (f", {register.count} of them" if register.count > 1 else "")

    return _PAGE.format(
        made=_MADE,
        registers="\n".join(f"| {offsets(r)} | {names(r)} | {r.text} |" for r in registers),
        fields="\n".join(
            f"| `{r.name}` | {bits(f)} | `{f.name}` | {f.access} | "
            f"{f.reset if f.access in ('rw', 'w1c') else '-'} | {f.text} |"
            for r, f in _fields(registers)
        ),
        accesses="; ".join(f"{name}: {text}" for name, text in ACCESSES.items()),
    )


def c_header(registers: Sequence[Register] = TILE_REGISTERS) -> str:
    """The registers in C."""
    lines = []
    for register in registers:
        name = f"NM_TILE_{register.name.upper()}"
        lines += ["", f"/* {register.text} */", f"#define {name} 0x{register.offset:03X}u"]
        if register.count > 1:
            lines.append(f"#define {name}_COUNT {register.count}u")
        for field in register.fields:
            part = f"{name}_{field.name.upper()}"
            lines.append(f"#define {part}_SHIFT {field.low}u /* {field.text}; {field.access} */")
            lines.append(f"#define {part}_MASK 0x{field.mask:08X}u")
    return _HEADER.format(made=_MADE.replace("`", ""), defines="\n".join(lines[1:]))


def python_class(text: str, registers: Sequence[Register] = TILE_REGISTERS) -> str:
    """The Python class with the fields of the registers.

    Parameters
    ----------
    text
        The class with any fields.
    registers
        The registers.
    """
    fields = "".join(
        f"    # {f.text}\n"
        f'    "{r.name}_{f.name}": Field(0x{r.offset:03X}, {f.low}, {f.width}, "{f.access}", '
        f"{r.count}),\n"
        for r, f in _fields(registers)
    )
    return _BLOCK.sub(lambda _: fields, text, count=1)


def files(root: Path = _ROOT) -> dict[Path, str]:
    """All of them, by their places in a checkout."""
    driver = root / "sw" / "tile_driver"
    python = driver / "nm_tile.py"
    return {
        root / "docs" / "tile_registers.md": page(),
        driver / "nm_tile.h": c_header(),
        python: python_class(python.read_text(encoding="utf-8")),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = CommandParser(
        prog=_COMMAND, description="Write what is made of the description of the registers."
    )
    parser.parse_args(arguments)
    try:
        written = files(_ROOT)
        write_files(written)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    print("wrote " + ", ".join(str(path.relative_to(_ROOT)) for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
