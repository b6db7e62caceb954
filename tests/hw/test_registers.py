import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from hw.axi import ADDRESS_WIDTH
from hw.register_files import c_header, files, main, page, python_class
from hw.registers import ACCESSES, TILE_REGISTERS, Register, RegisterField
from sw.tile_driver import HEADER, nm_tile
from sw.tile_driver.nm_tile import FIELDS, Field, TileRegisters

PYTHON = Path(nm_tile.__file__)


def test_no_two_at_one_place():
    """Registers are whole words that fit the address, fields do not overlap."""
    words = Counter(
        register.offset + 4 * k for register in TILE_REGISTERS for k in range(register.count)
    )
    assert set(words.values()) == {1}
    assert all(word % 4 == 0 and word < 1 << ADDRESS_WIDTH for word in words)
    assert len({register.name for register in TILE_REGISTERS}) == len(TILE_REGISTERS)
    for register in TILE_REGISTERS:
        low = 0
        for field in register.fields:
            assert field.low >= low
            assert field.access in ACCESSES
            assert field.reset < 1 << field.width
            low = field.low + field.width
        assert low <= 32


def test_files_are_those_of_the_description():
    """Whoever changes the registers must run `python -m hw.register_files`."""
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text


def test_command(monkeypatch, tmp_path, capsys):
    import hw.register_files as module

    monkeypatch.setattr(module, "_ROOT", tmp_path)
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    path = tmp_path / "sw" / "tile_driver" / "nm_tile.py"
    assert capsys.readouterr().err == (
        f"python -m hw.register_files: error: {path}: No such file or directory\n"
    )
    path.parent.mkdir(parents=True)
    path.write_text(re.sub(r'    "length_value".*\n', "", PYTHON.read_text()))
    assert main([]) == 0
    names = ["docs/tile_registers.md", "sw/tile_driver/nm_tile.h", "sw/tile_driver/nm_tile.py"]
    assert capsys.readouterr().out == f"wrote {', '.join(names)}\n"
    assert [(tmp_path / name).read_text() for name in names] == list(files().values())


SOME = (
    Register(
        "some_words", 0x40, "words",
        (
            RegisterField("low", 0, 1, "rw", "a bit", reset=1),
            RegisterField("high", 4, 28, "ro", "x"),
        ),
        count=3,
    ),
)  # fmt: skip


def test_page():
    lines = page(SOME).splitlines()
    assert "| 0x040 to 0x048 | `some_words`, 3 of them | words |" in lines
    assert "| `some_words` | 0 | `low` | rw | 1 | a bit |" in lines
    assert "| `some_words` | 31:4 | `high` | ro | - | x |" in lines


def test_class():
    made = {}
    exec(compile(python_class(PYTHON.read_text(), SOME), "made", "exec"), made)
    assert made["FIELDS"] == {
        "some_words_low": made["Field"](0x40, 0, 1, "rw", 3),
        "some_words_high": made["Field"](0x40, 4, 28, "ro", 3),
    }


def test_header(tmp_path):
    lines = c_header(SOME).splitlines()
    for line in (
        "#define NM_TILE_SOME_WORDS 0x040u",
        "#define NM_TILE_SOME_WORDS_COUNT 3u",
        "#define NM_TILE_SOME_WORDS_LOW_SHIFT 0u /* a bit; rw */",
        "#define NM_TILE_SOME_WORDS_HIGH_MASK 0xFFFFFFF0u",
    ):
        assert line in lines
    source = tmp_path / "use.c"
    source.write_text(
        '#include "nm_tile.h"\n'
        "#include <stdio.h>\n"
        "int main(void) {\n"
        '  printf("%u %u %u\\n", (unsigned)NM_TILE_GET(0x12345678u, NM_TILE_ID_MAGIC),\n'
        "         (unsigned)NM_TILE_PUT(3, NM_TILE_TILE_SHAPE_COLS),\n"
        "         (unsigned)(NM_TILE_SCALE_WORD + 4 * (NM_TILE_SCALE_WORD_COUNT - 1)));\n"
        "  return 0;\n"
        "}\n"
    )
    program = tmp_path / "use"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["cc", *flags, "-I", HEADER.parent, source, "-o", program], check=True)
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert out == f"{0x1234} {3 << 16} {0x1FC}\n"


class Memory:
    """What a driver would talk to."""

    def __init__(self):
        self.words = {0x10: 1, 0x14: 0xF02}
        self.written = []

    def registers(self):
        return TileRegisters(lambda offset: self.words.get(offset, 0), self.write)

    def write(self, offset, word):
        self.written.append((offset, word))


def test_reading_fields():
    registers = Memory().registers()
    assert registers.get("status_scale_ready") == 1
    assert registers.get("status_busy") == 0
    assert registers.get("status_scale_lost") == 1


def test_writing_fields():
    memory = Memory()
    registers = memory.registers()
    registers.set("length_value", 7)
    # The reset leaves the tile enabled, and what is cleared is cleared alone.
    registers.set("control_reset", 1)
    registers.set("status_scale_error", 1)
    registers.set("scale_word_value", 5, 63)
    assert memory.written == [(0x1C, 7), (0x10, 3), (0x14, 0x400), (0x1FC, 5)]


def test_pushing_scales():
    memory = Memory()
    memory.registers().push_scales([1, 2], last=False)
    memory.registers().push_scales([3], last=True)
    assert memory.written == [(0x100, 1), (0x104, 2), (0x34, 1), (0x100, 3), (0x34, 3)]


@pytest.mark.parametrize(
    ("name", "value", "place", "kind", "message"),
    [
        ("id_magic", 1, 0, ValueError, "id_magic must be a field that can be written"),
        ("control_enable", 2, 0, ValueError, "control_enable must be from 0 to 1, not 2"),
        ("length_value", -1, 0, ValueError, "length_value must be from 0 to 4294967295, not -1"),
        ("length_value", 1, 1, IndexError, "length_value must have a place from 0 to 0, not 1"),
        ("scale_word_value", 1, 64, IndexError, "scale_word_value must have a place from 0 to 63, "
         "not 64"),
    ],
)  # fmt: skip
def test_refused(name, value, place, kind, message):
    memory = Memory()
    with pytest.raises(kind) as caught:
        memory.registers().set(name, value, place)
    assert str(caught.value) == message
    assert not memory.written


def test_fields():
    assert FIELDS["formats_sum_width"] == Field(0x0C, 16, 8, "ro", 1)
