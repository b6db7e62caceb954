import ast
import doctest
import random
import subprocess
import types
from collections.abc import Callable
from functools import partial
from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.config import LAYOUTS, METADATA
from hw.formats import FORMATS
from sw.interchange import compress, expand
from sw.metadata import decode
from sw.packed import PackedFormat, pack_tokens
from sw.packed_reader import HEADER, nm_packed
from sw.packing import unpack
from tests.mutant import mutant
from tests.sw import naive
from tests.sw.readers import (
    MAIN,
    Case,
    expected_of_c,
    format_of,
    needs_compiler,
    run_c,
    written,
)
from tests.sw.test_packed import DOCS, formats

# Cases


def case(packed: PackedFormat, fields: list[list[int]], seed: int = 0) -> Case:
    """A token of metadata that may be illegal, with random values, and what the model says."""
    generator = torch.Generator().manual_seed(seed)
    width = FORMATS[packed.dtype].width
    metadata = torch.tensor(fields)
    values = torch.randint(1 << width, (len(fields), packed.n), generator=generator)
    last = torch.tensor([0] * (len(fields) - 1) + [1])
    (token,) = pack_tokens(values, metadata, last, packed)
    mask, error = decode(metadata, packed.n, packed.m, packed.metadata)
    dense = [
        None if wrong else unpack(kept, lanes).tolist()
        for kept, lanes, wrong in zip(values, mask, error.tolist(), strict=True)
    ]
    return packed, token, dense


def random_fields(packed: PackedFormat, count: int, seed: int) -> list[list[int]]:
    """Legal metadata, and metadata with a field changed or all fields random."""
    chosen = random.Random(f"{packed} {seed}")
    n, m, code = packed.n, packed.m, packed.metadata
    size = 1 << (packed.metadata_bits // packed.field_count)
    result = []
    for number in range(count):
        lanes = sorted(chosen.sample(range(m), n))
        if code == "index":
            fields = lanes
        elif code == "enumerative":
            fields = [sum(comb(lane, k) for k, lane in enumerate(lanes, start=1))]
        else:
            fields = naive.bitmap(lanes, m)[: m - (code == "bitmap-implied")]
        if number % 3 == 1:
            fields[chosen.randrange(len(fields))] = chosen.randrange(size)
        if number % 9 == 2:
            fields = [chosen.randrange(size) for _ in fields]
        result.append(fields)
    return result


def all_cases() -> list[Case]:
    cases = []
    for n, m in [(2, 4), (1, 2), (8, 16), (3, 5), (4, 4), (1, 7), (6, 7), (33, 64), (32, 64)]:
        cases += [
            case(packed, random_fields(packed, 30, seed=m), seed=n) for packed in formats(n, m)
        ]
    # Every code of small patterns.
    for (n, m), layout, code in product([(2, 4), (1, 3), (3, 5)], LAYOUTS, METADATA):
        packed = PackedFormat(n=n, m=m, dtype="int8", metadata=code, layout=layout)
        size = 1 << (packed.metadata_bits // packed.field_count)
        every = [list(fields) for fields in product(range(size), repeat=packed.field_count)]
        cases.append(case(packed, every))
    # The greatest rank, the least illegal one, and the greatest number.
    packed = PackedFormat(n=32, m=64, dtype="int8", metadata="enumerative")
    ranks = [0, 1, comb(64, 32) - 1, comb(64, 32), (1 << 61) - 1]
    cases.append(case(packed, [[rank] for rank in ranks]))
    return cases


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return all_cases()


def test_cases_hold_what_they_should(cases: list[Case]) -> None:
    seen = {(packed.metadata, group is None) for packed, _, dense in cases for group in dense}
    assert seen == set(product(METADATA, (False, True)))
    assert {packed.layout for packed, _, _ in cases} == set(LAYOUTS)
    assert {packed.dtype for packed, _, _ in cases} == set(FORMATS)


# NumPy


def numpy_says(one: Case, module: types.ModuleType = nm_packed) -> list[list[int]] | str:
    packed, token, dense = one
    try:
        values, lanes = module.unpack_token(token, len(dense), format_of(packed, module))
    except ValueError as error:
        return str(error)
    return module.expand(values, lanes, packed.m).tolist()


def model_says(one: Case) -> list[list[int] | None] | str:
    packed, _, dense = one
    if None not in dense:
        return dense
    return (
        f"{packed.metadata} metadata must name {packed.n} of {packed.m} lanes, which that of group "
        f"{dense.index(None)} does not"
    )


def legal_part(one: Case) -> Case:
    """The groups before the first illegal one, in bytes of their own: the same bits."""
    packed, token, dense = one
    count = dense.index(None) if None in dense else len(dense)
    sizes: tuple[int, ...] = (packed.value_bits, packed.metadata_bits)
    if packed.layout == "interleaved":
        sizes = (sum(sizes),)
    whole = [int.from_bytes(stream, "little") for stream in token]
    cut = [number & ((1 << count * size) - 1) for number, size in zip(whole, sizes, strict=True)]
    lengths = packed.byte_counts(count)
    streams = tuple(c.to_bytes(length, "little") for c, length in zip(cut, lengths, strict=True))
    return packed, streams, dense[:count]


def test_numpy_doctests() -> None:
    assert doctest.testmod(nm_packed).failed == 0


def test_numpy_reader_imports_numpy_and_the_standard_library() -> None:
    imported = set()
    for node in ast.walk(ast.parse(Path(nm_packed.__file__).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported == {"collections.abc", "dataclasses", "math", "numpy"}


def test_numpy_reader(cases: list[Case]) -> None:
    for one in cases:
        assert numpy_says(one) == model_says(one)
        part = legal_part(one)
        assert numpy_says(part) == part[2]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('bitorder="little")', 'bitorder="big")'),
        ("bits[0][:, count * width :], bits[0][:, : count * width]",
         "bits[0][:, : -count * width or None], bits[0][:, -count * width :]"),
        ("fields[:, 0] < comb(m, n)", "fields[:, 0] <= comb(m, n)"),
        ("np.diff(fields, axis=-1) > 0", "np.diff(fields, axis=-1) >= 0"),
        ("np.all(fields < m, axis=-1)", "np.all(fields <= m, axis=-1)"),
        ("keepdims=True) < n", "keepdims=True) <= n"),
        ("ranks >= term)", "ranks > term)"),
    ],
)  # fmt: skip
def test_model_finds_a_wrong_numpy_reader(cases: list[Case], old: str, new: str) -> None:
    broken = mutant(nm_packed, old, new)

    def is_right(module: types.ModuleType) -> bool:
        try:
            return all(
                numpy_says(one, module) == model_says(one)
                and numpy_says(legal_part(one), module) == legal_part(one)[2]
                for one in cases
            )
        except IndexError:
            return False

    assert is_right(nm_packed)
    assert not is_right(broken)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numpy_reads_whole_tensors(layout: str) -> None:
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randint(-128, 128, (5, 37), generator=generator).to(torch.int8)
    packed = PackedFormat(n=8, m=16, dtype="int8", metadata="enumerative", layout=layout)
    compressed = compress(numbers, packed)
    streams = [stream.numpy().tobytes() for stream in compressed.streams]
    codes = nm_packed.read_tensor(streams, 5, 37, format_of(packed))
    assert codes.shape == (5, 37)
    assert nm_packed.signed(codes, 8).tolist() == expand(compressed).tolist()
    with pytest.raises(ValueError) as caught:
        nm_packed.read_tensor([streams[0][:-1], *streams[1:]], 5, 37, format_of(packed))
    expected, found = tuple(map(len, streams)), (len(streams[0]) - 1, *map(len, streams[1:]))
    assert str(caught.value) == f"streams must have {expected} bytes for 5 tokens, not {found}"


def test_numpy_signed() -> None:
    codes = np.array([0, 1, 7, 8, 15])
    assert nm_packed.signed(codes, 4).tolist() == [0, 1, 7, -8, -1]
    assert nm_packed.signed(codes, 5).tolist() == [0, 1, 7, 8, 15]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 65}, "m must be between 2 and 64, not 65"),
        ({"m": 1}, "m must be between 2 and 64, not 1"),
        ({"n": 0}, "n must be between 1 and 4, not 0"),
        ({"n": 5}, "n must be between 1 and 4, not 5"),
        ({"value_bits": 33}, "value_bits must be between 1 and 32, not 33"),
        (
            {"code": "rank"},
            "code must be one of bitmap, bitmap-implied, index, enumerative, not 'rank'",
        ),
        ({"layout": ""}, "layout must be one of interleaved, split, not ''"),
    ],
)
def test_numpy_formats_that_there_are_not(changes: dict[str, int | str], message: str) -> None:
    arguments = {"n": 2, "m": 4, "value_bits": 8, "code": "bitmap", "layout": "split"}
    with pytest.raises(ValueError) as caught:
        nm_packed.PackedFormat(**(arguments | changes))  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_numpy_tokens_of_another_length() -> None:
    packed = format_of(PackedFormat(n=2, m=4, dtype="int8"))
    with pytest.raises(ValueError) as caught:
        nm_packed.unpack_token([bytes(4)], 2, packed)
    assert str(caught.value) == "token must have (5,) bytes for 2 groups, not (4,)"


# C


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return partial(run_c, tmp_path)


@needs_compiler
def test_c_reader(run: Run, cases: list[Case]) -> None:
    assert run(MAIN, written(cases)) == expected_of_c(cases)


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("% 8);\n", "% 8) ^ 7;\n"),
        ("position + metadata_bits, values", "position, values"),
        ("(uint64_t)group * value_bits, values", "(uint64_t)group * metadata_bits, values"),
        ("if (rank >= masks)", "if (rank > masks)"),
        ("if (rank >= term) {", "if (rank > term && rank) {"),
        ("return c / d * a + c % d * a / d;", "return c * a / d;"),
        ("lane >= format->m ||", "lane > format->m ||"),
        ("lane <= lanes[slot - 1]", "lane < lanes[slot - 1]"),
        ("if (found == format->n)\n            return NM_ILLEGAL_CODE;",
         "if (found == format->n)\n            break;"),
        ("return found == format->n ? NM_OK : NM_ILLEGAL_CODE;", "return NM_OK;"),
        ("(uint64_t)group < (uint64_t)stream.size", "(uint64_t)group <= (uint64_t)stream.size"),
    ],
)  # fmt: skip
def test_model_finds_a_wrong_c_reader(run: Run, cases: list[Case], old: str, new: str) -> None:
    header = HEADER.read_text()
    assert header.count(old) == 1
    # A wrong program may also crash, or never end.
    try:
        output = run(MAIN, written(cases), header.replace(old, new))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        assert "main.c" not in error.cmd  # noqa: PT017 (it must compile)
        return
    assert output != expected_of_c(cases)


@needs_compiler
def test_c_example(run: Run) -> None:
    """The example of the header's comment."""
    source = r"""
        #include "nm_packed.h"
        #include <stdio.h>
        int main(void)
        {
            static const uint8_t bytes[] = {0x13, 0xD0, 0xCF, 0x05, 0xF9};
            const struct nm_format format = {2, 4, 8, NM_BITMAP};
            const struct nm_stream stream = {bytes, sizeof bytes};
            uint8_t lanes[2];
            uint32_t values[2], dense[4];

            printf("%d\n", nm_unpack_interleaved(&format, stream, 1, lanes, values));
            printf("%d %d %d %d\n", lanes[0], lanes[1], (int)values[0], (int)values[1]);
            printf("%d\n", (int)nm_signed(values[1], 8));
            nm_expand(&format, lanes, values, dense);
            printf("%d %d %d %d\n", (int)dense[0], (int)dense[1], (int)dense[2], (int)dense[3]);
            return 0;
        }
    """
    assert run(source) == "0\n2 3 5 249\n-7\n0 0 5 249\n"
    comment = HEADER.read_text().partition("*/")[0].replace(" *   ", "")
    for line in ("static const uint8_t bytes[] = {0x13, 0xD0, 0xCF, 0x05, 0xF9};",
                 "const struct nm_format format = {2, 4, 8, NM_BITMAP};",
                 "together      0xF905CFD013, lowest byte first:  13 D0 CF 05 F9",
                 "takes 3 bits for the rank: 08 E8 6F 41 3E"):  # fmt: skip
        assert line in comment


@needs_compiler
def test_c_small_functions(run: Run) -> None:
    source = r"""
        #include "nm_packed.h"
        #include <stdio.h>
        int main(void)
        {
            static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
            struct nm_format format = {2, 4, 8, NM_BITMAP};
            const struct nm_stream stream = {bytes, sizeof bytes};
            uint8_t lanes[2];
            uint32_t values[2];
            unsigned m, n;

            printf("%llx %llx %llx\n", (unsigned long long)nm_get_bits(bytes, 8, 64),
                   (unsigned long long)nm_get_bits(bytes, 4, 64),
                   (unsigned long long)nm_get_bits(bytes, 4, 0));
            printf("%d %d %d %d\n", (int)nm_signed(0x8, 4), (int)nm_signed(0x7F, 8),
                   (int)nm_signed(0x80000000u, 32), (int)nm_signed(0xFFFFFFFFu, 32));
            for (m = 2; m <= 64; m++)
                for (n = 0; n <= m + 1; n++)
                    printf("%llu\n", (unsigned long long)nm_binomial(m, n));
            format.n = 5;
            printf("%d\n", nm_unpack_interleaved(&format, stream, 0, lanes, values));
            printf("%d\n", nm_unpack_split(&format, stream, stream, 0, lanes, values));
            printf("%d\n", nm_decode(&format, bytes, 0, lanes));
            format.n = 2;
            format.m = 65;
            printf("%d\n", nm_check_format(&format));
            format.m = 1;
            printf("%d\n", nm_check_format(&format));
            format.m = 4;
            format.value_bits = 33;
            printf("%d\n", nm_check_format(&format));
            format.value_bits = 0;
            printf("%d\n", nm_check_format(&format));
            format.value_bits = 8;
            format.code = (enum nm_code)4;
            printf("%d\n", nm_check_format(&format));
            format.code = NM_INDEX;
            printf("%d\n", nm_check_format(&format));
            return 0;
        }
    """
    lines = run(source).splitlines()
    whole = int.from_bytes(bytes(range(1, 10)), "little")
    assert lines[0] == f"{whole >> 8:x} {whole >> 4 & ((1 << 64) - 1):x} 0"
    assert lines[1] == "-8 127 -2147483648 -1"
    assert lines[2:-9] == [str(comb(m, n)) for m in range(2, 65) for n in range(m + 2)]
    assert lines[-9:] == ["-3"] * 8 + ["0"]


@needs_compiler
def test_c_example_of_the_documentation(run: Run) -> None:
    text = DOCS.read_text()
    start = text.index('    #include "nm_packed.h"')
    lines = text[start:].split("\n\n    $ ")
    source = "\n".join(line.removeprefix("    ") for line in lines[0].splitlines())
    shown = [line.strip() for line in lines[1].split("\n\n")[0].splitlines()[1:]]
    assert run(source).splitlines() == shown


def test_numpy_example_of_the_documentation() -> None:
    text = DOCS.read_text()
    start = text.index("    from sw.packed_reader.nm_packed import")
    block = text[start:].split("\n\n##")[0]
    lines = [line.removeprefix("    ") for line in block.splitlines()]
    names: dict[str, object] = {}
    exec("\n".join(lines[:-1]), names)
    call, _, shown = lines[-1].partition("# ")
    assert eval(call.strip(), names).tolist() == ast.literal_eval(shown)
