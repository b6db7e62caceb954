"""A packed file and the hardware have the same bytes.

The file holds captured activations.  Its bytes go into the emitted unpacker, and the emitted
sparsifier and packer make them anew; the readers for drivers read them too.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from hw.config import LAYOUTS, UnitConfig
from hw.ports import input_streams, output_streams
from sim.bench.plan import Transfers
from sim.captured import Captured
from sim.runner import BenchResult
from sim.words import payload_words
from sw.activations import read_activations
from sw.codes import numbers_of
from sw.golden import Payload, sparsify
from sw.groups import to_groups
from sw.interchange import Packed, compress, read_packed, write_packed
from sw.metadata import encode
from sw.packed import PackedFormat
from sw.packed_reader import nm_packed
from sw.packing import unpack
from sw.quantize import to_codes
from tests.sw.readers import MAIN, expected_of_c, format_of, needs_compiler, run_c, written

pytestmark = pytest.mark.slow

Bench = Callable[..., BenchResult]

#: Tokens of the file, and features of each, which do not fill its last group.
TOKENS, FEATURES = 6, 203

#: Linear, pattern, number format, code and word of each tensor of the file, for both layouts.
CASES = {
    "layers.11.down_proj": (8, 16, "int8", "enumerative", 64),
    "layers.0.o_proj": (2, 4, "bf16", "bitmap-implied", 128),
}

#: Names of the tensors in the file.
NAMES = [f"{linear}.{layout}" for linear in CASES for layout in LAYOUTS]


class Case:
    """One tensor of the file, and what the definitions say of it.

    Attributes
    ----------
    packed
        As read from the file.
    codes
        Activations in the number format: (tokens, features).
    kept
        The same, 0 where they are dropped.
    dense, groups
        Payloads of a sparsifier: what goes in, and what comes out.
    """

    def __init__(self, name: str, packed: Packed, activations: torch.Tensor) -> None:
        self.packed = packed
        self.format = packed.format
        self.word = CASES[name.rpartition(".")[0]][-1]
        self.codes = to_codes(activations, self.format.dtype)
        lanes = to_groups(self.codes, self.format.m)
        values, mask = sparsify(self.unit("sparsifier"), lanes)
        self.kept = unpack(values, mask)
        last = torch.zeros(lanes.shape[:2], dtype=torch.int64)
        last[:, -1] = 1
        shared = {"last": last.flatten().unsqueeze(-1)}
        fields = encode(mask, self.format.n, self.format.metadata)
        self.dense: Payload = {"data": lanes.flatten(0, 1), **shared}
        self.groups: Payload = {
            "values": values.flatten(0, 1), "meta": fields.flatten(0, 1), **shared,
        }  # fmt: skip

    def unit(self, unit: str) -> UnitConfig:
        """A unit for this format."""
        packed = self.format
        return UnitConfig(
            unit=unit, n=packed.n, m=packed.m, dtype=packed.dtype, metadata=packed.metadata,
            layout=packed.layout, word=self.word,
        )  # fmt: skip

    @property
    def tokens(self) -> list[tuple[bytes, ...]]:
        """The bytes of each token in each stream."""
        sizes = self.format.byte_counts(self.packed.groups)
        return [
            tuple(
                bytes(stream[token * size : (token + 1) * size].tolist())
                for stream, size in zip(self.packed.streams, sizes, strict=True)
            )
            for token in range(TOKENS)
        ]

    @property
    def words(self) -> Transfers:
        """Tokens as a driver sends them to an unpacker: ``data``, ``bytes``, ``last``."""
        size = self.word // 8
        streams: dict[str, list[tuple[int, ...]]] = {}
        for prefix, texts in zip(
            input_streams(self.unit("unpacker")), zip(*self.tokens, strict=True), strict=True
        ):
            words = streams[prefix] = []
            for text in texts:
                parts = [text[start : start + size] for start in range(0, len(text), size)]
                words += [(int.from_bytes(part, "little"), len(part), 0) for part in parts]
                words[-1] = (*words[-1][:2], 1)
        return streams

    def expected(self, payload: Payload, unit: str) -> Sequence[tuple[int, ...]]:
        """A payload as it leaves a unit."""
        return payload_words(payload, output_streams(self.unit(unit))["o"])


def bytes_of(words: Sequence[tuple[int, ...]], size: int) -> list[bytes]:
    """The bytes of each token of a packer's words."""
    tokens, text = [], b""
    for data, count, last in words:
        text += data.to_bytes(size, "little")[:count]
        if last:
            tokens.append(text)
            text = b""
    assert text == b""
    return tokens


@pytest.fixture(scope="session")
def cases(captured: Captured, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """All tensors of a file that was written and read again."""
    path = tmp_path_factory.mktemp("packed") / "packed.safetensors"
    tensors = read_activations(captured.path).tensors
    activations, packed = {}, {}
    for name in NAMES:
        linear, _, layout = name.rpartition(".")
        n, m, dtype, metadata, _ = CASES[linear]
        packed_format = PackedFormat(n=n, m=m, dtype=dtype, metadata=metadata, layout=layout)
        activations[name] = tensors[linear][:TOKENS, :FEATURES]
        numbers = numbers_of(to_codes(activations[name], dtype), dtype)
        packed[name] = compress(numbers, packed_format)
    write_packed(path, packed)
    again = read_packed(path)
    return {name: Case(name, again[name], activations[name]) for name in NAMES}


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


def test_unpacker_reads_the_file(case: Case, bench: Bench) -> None:
    result = bench(case.unit("unpacker"), given=case.words)
    assert len(result.outputs) == 4
    for outputs in result.outputs.values():
        assert outputs == {"o": case.expected(case.groups, "unpacker")}


def test_a_wrong_byte_of_the_file_is_noticed(cases: dict[str, Case], bench: Bench) -> None:
    """The bench alone, whose model reads the same words, has nothing against it."""
    case = cases[NAMES[0]]
    (first, *others) = case.words["i"]
    words = [(first[0] ^ 1 << 40, *first[1:]), *others]
    result = bench(case.unit("unpacker"), given={"i": words}, tests="without_stalls")
    expected = case.expected(case.groups, "unpacker")
    outputs = result.outputs["without_stalls"]["o"]
    assert [a == b for a, b in zip(outputs, expected, strict=True)].count(False) == 1


def test_packer_makes_the_file(case: Case, bench: Bench) -> None:
    given = payload_words(case.groups, input_streams(case.unit("packer"))["i"])
    result = bench(case.unit("packer"), given={"i": given})
    assert len(result.outputs) == 4
    for outputs in result.outputs.values():
        streams = [bytes_of(words, case.word // 8) for words in outputs.values()]
        assert list(zip(*streams, strict=True)) == case.tokens


@pytest.mark.parametrize("name", NAMES[:: len(LAYOUTS)])
def test_sparsifier_makes_what_the_packer_packs(
    name: str, cases: dict[str, Case], bench: Bench
) -> None:
    """Dense activations in; the packer takes exactly what comes out."""
    case = cases[name]
    given = payload_words(case.dense, input_streams(case.unit("sparsifier"))["i"])
    result = bench(case.unit("sparsifier"), given={"i": given}, tests="without_stalls")
    packed = payload_words(case.groups, input_streams(case.unit("packer"))["i"])
    assert result.outputs == {"without_stalls": {"o": packed}}


def test_numpy_reads_the_file(case: Case) -> None:
    streams = [bytes(stream.tolist()) for stream in case.packed.streams]
    codes = nm_packed.read_tensor(streams, TOKENS, FEATURES, format_of(case.format))
    assert codes.tolist() == case.kept.flatten(1)[:, :FEATURES].tolist()


@needs_compiler
def test_c_reads_the_file(cases: dict[str, Case], tmp_path: Path) -> None:
    tokens = [
        (case.format, token, dense)
        for case in cases.values()
        for token, dense in zip(case.tokens, case.kept.tolist(), strict=True)
    ]
    assert run_c(tmp_path, MAIN, written(tokens)) == expected_of_c(tokens)
