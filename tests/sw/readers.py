"""What tests of the two readers of packed streams share; the C reader in a program of its own."""

import shutil
import subprocess
import types
from pathlib import Path

import pytest

from hw.config import LAYOUTS
from hw.formats import FORMATS
from sw.packed import PackedFormat
from sw.packed_reader import HEADER, nm_packed

__all__ = ["MAIN", "Case", "expected_of_c", "format_of", "needs_compiler", "run_c", "written"]

COMPILER = shutil.which("cc") or shutil.which("gcc")

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler: cc or gcc")

#: Codes in the order of `enum nm_code`.
CODES = ("bitmap", "bitmap-implied", "index", "enumerative")

#: A token: the format, its streams, and of each group the dense codes or None where it is illegal.
Case = tuple[PackedFormat, tuple[bytes, ...], list[list[int] | None]]


def format_of(packed: PackedFormat, module: types.ModuleType = nm_packed) -> nm_packed.PackedFormat:
    """The format as the NumPy reader has it."""
    return module.PackedFormat(
        n=packed.n,
        m=packed.m,
        value_bits=FORMATS[packed.dtype].width,
        code=packed.metadata,
        layout=packed.layout,
    )


#: Reads cases, and writes for each group, and for one beyond the last, status and dense lanes.
MAIN = r"""
#include "nm_packed.h"

#include <stdio.h>
#include <stdlib.h>

static struct nm_stream read_stream(size_t expected)
{
    unsigned size, i, byte;
    uint8_t *bytes;

    if (scanf("%u", &size) != 1 || size != expected || !(bytes = malloc(size ? size : 1)))
        exit(2);
    for (i = 0; i < size; i++) {
        if (scanf("%2x", &byte) != 1)
            exit(3);
        bytes[i] = (uint8_t)byte;
    }
    return (struct nm_stream){bytes, size};
}

int main(void)
{
    unsigned n, m, value_bits, code, split, groups, group, lane;

    while (scanf("%u %u %u %u %u %u", &n, &m, &value_bits, &code, &split, &groups) == 6) {
        const struct nm_format format = {n, m, value_bits, (enum nm_code)code};
        const unsigned values_size = nm_group_value_bits(&format);
        const unsigned metadata_size = nm_group_metadata_bits(&format);
        const struct nm_stream first = read_stream(
            nm_token_bytes(groups, split ? values_size : values_size + metadata_size));
        struct nm_stream second = {NULL, 0};

        if (split)
            second = read_stream(nm_token_bytes(groups, metadata_size));
        for (group = 0; group <= groups; group++) {
            uint8_t lanes[NM_MAX_M];
            uint32_t values[NM_MAX_M], dense[NM_MAX_M];
            const int status =
                split ? nm_unpack_split(&format, first, second, group, lanes, values)
                      : nm_unpack_interleaved(&format, first, group, lanes, values);

            printf("%d", status);
            if (status == NM_OK) {
                nm_expand(&format, lanes, values, dense);
                for (lane = 0; lane < m; lane++)
                    printf(" %u", (unsigned)dense[lane]);
            }
            printf("\n");
        }
        free((void *)first.bytes);
        free((void *)second.bytes);
    }
    return 0;
}
"""


def run_c(folder: Path, source: str, text: str = "", header: str = HEADER.read_text()) -> str:
    """Compile a program with the header, run it on a text, and give its output."""
    (folder / "nm_packed.h").write_text(header)
    (folder / "main.c").write_text(source)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
    subprocess.run([str(COMPILER), *flags, "-o", "main", "main.c"], check=True, cwd=folder)
    done = subprocess.run(
        [str(folder / "main")], input=text, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def written(cases: list[Case]) -> str:
    """The cases as the program reads them."""
    lines = []
    for packed, token, dense in cases:
        numbers = [
            packed.n, packed.m, FORMATS[packed.dtype].width, CODES.index(packed.metadata),
            LAYOUTS.index(packed.layout), len(dense),
        ]  # fmt: skip
        lines.append(" ".join(map(str, numbers)))
        lines += [f"{len(stream)} {stream.hex(' ')}" for stream in token]
    return "\n".join(lines)


def expected_of_c(cases: list[Case]) -> str:
    """What the program writes if the reader is right."""
    lines = []
    for _, _, dense in cases:
        lines += ["-1" if group is None else " ".join(map(str, [0, *group])) for group in dense]
        lines.append("-2")
    return "".join(f"{line}\n" for line in lines)
