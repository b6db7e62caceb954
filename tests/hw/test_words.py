"""Groups to words and back in Amaranth's simulator, against plain strings of bits.

A string has the lowest bit first, as the bits of a token follow each other.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from types import ModuleType

import pytest
from amaranth.lib import wiring
from hypothesis import given, settings
from hypothesis import strategies as st

import hw.words
from tests.hw.streams import Payload, Run, simulate
from tests.mutant import mutant

# Tokens


@dataclass(frozen=True)
class Token:
    """A token as both sides have it.

    Parameters
    ----------
    groups
        Its whole groups.
    words
        ``data`` and ``bytes`` of its words.
    has_last
        Whether the last word has bits of the last group.  No packer makes others.
    """

    groups: list[int]
    words: list[tuple[int, int]]
    has_last: bool = True


def bits_of(number: int, count: int) -> str:
    return f"{number:0{count}b}"[::-1]


def number_of(bits: str) -> int:
    return int(bits[::-1], 2) if bits else 0


def cut(bits: str, size: int) -> list[str]:
    return [bits[start : start + size] for start in range(0, len(bits), size)]


def packed(groups: list[int], group_bits: int, word_bits: int) -> Token:
    """What a packer makes of groups: zeros behind the bits, bytes that hold one of them count."""
    bits = "".join(bits_of(group, group_bits) for group in groups)
    return Token(groups, [(number_of(part), -(-len(part) // 8)) for part in cut(bits, word_bits)])


def unpacked(bits: str, group_bits: int, word_bits: int, rng: random.Random) -> Token:
    """What an unpacker makes of whole bytes; garbage is behind them and in ``bytes`` before it."""
    groups = [number_of(part) for part in cut(bits, group_bits) if len(part) == group_bits]
    *full, last = cut(bits, word_bits) or [""]
    words = [(number_of(part), rng.randint(0, word_bits // 8)) for part in full]
    garbage = rng.getrandbits(word_bits) >> len(last) << len(last)
    words.append((number_of(last) | garbage, len(last) // 8))
    return Token(groups, words, has_last=len(groups) * group_bits > len(full) * word_bits)


def random_bits(count: int, rng: random.Random) -> str:
    return bits_of(rng.getrandbits(count), count) if count else ""


def group_payloads(tokens: Sequence[Token]) -> list[Payload]:
    return [
        {"group": group, "last": int(token.has_last and place == len(token.groups))}
        for token in tokens
        for place, group in enumerate(token.groups, start=1)
    ]


def word_payloads(tokens: Sequence[Token]) -> list[Payload]:
    return [
        {"data": data, "bytes": count, "last": int(place == len(token.words))}
        for token in tokens
        for place, (data, count) in enumerate(token.words, start=1)
    ]


def schedule(completed: Iterable[int]) -> tuple[list[int], list[int]]:
    """Cycles in which inputs enter and outputs leave when nothing stalls.

    An output can leave in the cycle after that of the input that completes it, one a cycle.  An
    input enters as soon as no output that was complete before it stays behind.

    Parameters
    ----------
    completed
        Outputs that each input completes.
    """
    entered: list[int] = []
    left: list[int] = []
    enter, leave = -1, 0
    for count in completed:
        enter = max(enter + 1, leave)
        entered.append(enter)
        for _ in range(count):
            leave = max(enter, leave) + 1
            left.append(leave)
    return entered, left


def completed_by(size: int, part: int, total: int, *, rest: bool) -> list[int]:
    """Parts that each piece of some size completes, of `total` bits; whether a rest is a part."""
    ends = [*range(size, total, size), total]
    parts = [end // part for end in ends]
    parts[-1] += rest and total % part > 0
    return [later - earlier for earlier, later in pairwise([0, *parts])]


# What is tested

#: Bits of groups that bytes can count, and of words.
GROUP_BITS = st.integers(8, 200)
WORD_BITS = st.sampled_from([32, 64, 128])
#: Groups, or bytes, of each token.
GROUP_COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)
BYTE_COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=6)
RATES = st.sampled_from([0.0, 0.3, 0.7])
SEEDS = st.integers(0, 1 << 32)

random_sizes = settings(max_examples=25, deadline=None, derandomize=True)


def tokens_of_groups(counts: list[int], sizes: tuple[int, int], seed: int) -> list[Token]:
    """Tokens of so many random groups."""
    rng = random.Random(seed)
    return [packed([rng.getrandbits(sizes[0]) for _ in range(count)], *sizes) for count in counts]


def tokens_of_bytes(counts: list[int], sizes: tuple[int, int], seed: int) -> list[Token]:
    """Tokens of so many random bytes, be they whole groups or not."""
    rng = random.Random(seed)
    return [unpacked(random_bits(8 * count, rng), *sizes, rng) for count in counts]


def packing(tokens: list[Token], cycles: int | None = None) -> Run:
    return Run(group_payloads(tokens), word_payloads(tokens), cycles)


def unpacking(tokens: list[Token], cycles: int | None = None) -> Run:
    return Run(word_payloads(tokens), group_payloads(tokens), cycles)


def packer(sizes: tuple[int, int], module: ModuleType = hw.words) -> wiring.Component:
    return module.GroupsToWords(group_bits=sizes[0], word_bits=sizes[1])


def unpacker(sizes: tuple[int, int], module: ModuleType = hw.words) -> wiring.Component:
    return module.WordsToGroups(group_bits=sizes[0], word_bits=sizes[1])


class TestGroupsToWords:
    """Bits behind bits, a token in words of its own."""

    @random_sizes
    @given(st.tuples(st.integers(1, 200), WORD_BITS), GROUP_COUNTS, RATES, RATES, SEEDS)
    def test_any_sizes_and_stalls(self, sizes, counts, pauses, stalls, seed):
        run = packing(tokens_of_groups(counts, sizes, seed))
        simulate(packer(sizes), [run], pauses=pauses, stalls=stalls, seed=seed)
        # Counted in another way: a token has the bytes that its bits fill.
        byte_count = sum(payload["bytes"] for payload in run.expected)
        assert byte_count == sum(-(-count * sizes[0] // 8) for count in counts)

    @random_sizes
    @given(st.tuples(st.integers(1, 200), WORD_BITS), GROUP_COUNTS, SEEDS)
    def test_latency_and_throughput(self, sizes, counts, seed):
        run = packing(tokens_of_groups(counts, sizes, seed))
        simulate(packer(sizes), [run])
        completed = [completed_by(*sizes, count * sizes[0], rest=True) for count in counts]
        assert (run.entered, run.left) == schedule(chain(*completed))
        # A word a cycle, or a group, but for a second word at the end of a token.
        if sizes[0] >= sizes[1]:
            assert run.left == list(range(1, len(run.left) + 1))
        else:
            assert run.entered[-1] < len(run.entered) + len(counts)

    @random_sizes
    @given(st.tuples(st.integers(1, 200), WORD_BITS), st.integers(1, 40), RATES, RATES, SEEDS)
    def test_reset_in_flight(self, sizes, cycles, pauses, stalls, seed):
        runs = [
            packing(tokens_of_groups([3, 1, 9, 4, 12], sizes, seed + k), limit)
            for k, limit in enumerate((cycles, cycles // 2, None))
        ]
        simulate(packer(sizes), runs, pauses=pauses, stalls=stalls, seed=seed)

    def test_worked_example(self):
        """Two groups of 20 bits, and one that ends with its word."""
        run = Run(
            [{"group": 0xFD013, "last": 0}, {"group": 0xF905C, "last": 1}],
            [
                {"data": 0x05CFD013, "bytes": 4, "last": 0},
                {"data": 0x000000F9, "bytes": 1, "last": 1},
            ],
        )
        simulate(packer((20, 32)), [run])
        run = Run([{"group": 5, "last": 1}] * 2, [{"data": 5, "bytes": 4, "last": 1}] * 2)
        simulate(packer((32, 32)), [run])


class TestWordsToGroups:
    """Whole groups of a token's bytes; what is left is dropped."""

    @random_sizes
    @given(st.tuples(GROUP_BITS, WORD_BITS), BYTE_COUNTS, RATES, RATES, SEEDS)
    def test_any_sizes_and_stalls(self, sizes, counts, pauses, stalls, seed):
        run = unpacking(tokens_of_bytes(counts, sizes, seed))
        simulate(unpacker(sizes), [run], pauses=pauses, stalls=stalls, seed=seed)
        assert len(run.expected) == sum(8 * count // sizes[0] for count in counts)

    @random_sizes
    @given(st.tuples(GROUP_BITS, WORD_BITS), GROUP_COUNTS, RATES, RATES, SEEDS)
    def test_undoes_packing(self, sizes, counts, pauses, stalls, seed):
        tokens = tokens_of_groups(counts, sizes, seed)
        run = unpacking(tokens)
        assert [payload["group"] for payload in run.expected if payload["last"]] == [
            token.groups[-1] for token in tokens
        ]
        simulate(unpacker(sizes), [run], pauses=pauses, stalls=stalls, seed=seed)

    @random_sizes
    @given(
        st.tuples(st.integers(1, 7), WORD_BITS),
        st.lists(st.integers(1, 40), min_size=1, max_size=6),
        RATES,
        RATES,
        SEEDS,
    )
    def test_groups_that_bytes_do_not_count(self, sizes, counts, pauses, stalls, seed):
        """`end` says which group is the last one; `last` does not."""
        tokens = tokens_of_groups(counts, sizes, seed)
        run = unpacking(tokens)
        ends = [payload["last"] for payload in run.expected]
        for payload in run.expected:
            del payload["last"]
        simulate(
            unpacker(sizes), [run], pauses=pauses, stalls=stalls, seed=seed,
            end=lambda place: ends[place] if place < len(ends) else 0,
        )  # fmt: skip

    @random_sizes
    @given(st.tuples(GROUP_BITS, WORD_BITS), BYTE_COUNTS, SEEDS)
    def test_latency_and_throughput(self, sizes, counts, seed):
        run = unpacking(tokens_of_bytes(counts, sizes, seed))
        simulate(unpacker(sizes), [run])
        completed = [completed_by(sizes[1], sizes[0], 8 * count, rest=False) for count in counts]
        assert (run.entered, run.left) == schedule(chain(*completed))
        if sizes[0] >= sizes[1]:
            assert run.entered == list(range(len(run.entered)))

    @random_sizes
    @given(st.tuples(GROUP_BITS, WORD_BITS), st.integers(1, 40), RATES, RATES, SEEDS)
    def test_reset_in_flight(self, sizes, cycles, pauses, stalls, seed):
        runs = [
            unpacking(tokens_of_bytes([30, 1, 90, 40, 120], sizes, seed + k), limit)
            for k, limit in enumerate((cycles, cycles // 2, None))
        ]
        simulate(unpacker(sizes), runs, pauses=pauses, stalls=stalls, seed=seed)


# Seeded bugs

#: Groups and words: smaller, larger, equal; divisors from 1 to a word.
SIZES = [(20, 32), (19, 32), (40, 32), (142, 64), (32, 32), (8, 64), (144, 64)]


def exercise(module: ModuleType, create: Callable[..., wiring.Component]) -> None:
    """Tokens of many lengths with stalls, a reset among them, and again without stalls."""
    for seed, sizes in enumerate(SIZES):
        rng = random.Random(seed)
        if create is packer:
            counts = [rng.randint(1, 9) for _ in range(8)]
            runs = [packing(tokens_of_groups(counts, sizes, seed), cut) for cut in (25, None)]
        else:
            counts = [rng.randint(0, 40) for _ in range(8)]
            runs = [unpacking(tokens_of_bytes(counts, sizes, seed), cut) for cut in (25, None)]
        simulate(create(sizes, module), runs, pauses=0.3, stalls=0.5, seed=seed)


@pytest.mark.parametrize("create", [packer, unpacker])
def test_exercise(create):
    exercise(hw.words, create)


@pytest.mark.parametrize(
    ("create", "old", "new"),
    [
        # The next token starts in the rest of the last one.
        (packer, "Mux(ending, 0, fill[: len(place)])", "fill[: len(place)]"),
        (packer, "(fill + (per_byte - 1)) >>", "fill >>"),
        (packer, "fill * (unit // 8)", "fill"),
        (packer, "(fill <= units_word)", "(fill < units_word)"),
        (packer, "has_word | ending", "has_word"),
        (packer, "after < units_word)", "after <= units_word)"),
        (packer, "emit & is_final, after", "emit, after"),
        (packer, "Mux(is_final, 0, fill - units_word)", "fill - units_word"),
        (packer, "Mux(emit, buffer >> word_bits, buffer)", "buffer >> word_bits"),
        (packer, "Mux(is_final, self._bytes(fill, unit), Const(word_bits // 8))",
         "self._bytes(fill, unit)"),
        # Reset leaves something behind.
        (packer, "word_bits - unit + group_bits\n        buffer = Signal(capacity",
         "word_bits - unit + group_bits\n        buffer = Signal(capacity, reset_less=True"),
        (packer, "ending = Signal()\n\n        is_final",
         "ending = Signal(reset_less=True)\n\n        is_final"),
        (unpacker, "fill < 2 * units_group", "fill <= 2 * units_group"),
        (unpacker, "ending & (fill < 2 * units_group)", "fill < 2 * units_group"),
        (unpacker, "(emit & self.end) | ~has_group", "emit & self.end"),
        (unpacker, "Mux(done, 0, Mux(emit, buffer >> group_bits, buffer))",
         "Mux(emit, buffer >> group_bits, buffer)"),
        (unpacker, "Mux(done, 0, Mux(emit, rest, fill))", "Mux(emit, rest, fill)"),
        (unpacker, "Mux(self.i.payload.last, self.i.payload.bytes * (8 // unit), units_word)",
         "self.i.payload.bytes * (8 // unit)"),
        (unpacker, "(rest < units_group)", "(rest <= units_group)"),
        (unpacker, "Mux(ending, done, emit | ~has_group)", "Mux(ending, done, 1)"),
        # Reset leaves something behind.
        (unpacker, "group_bits - step + word_bits\n        buffer = Signal(capacity",
         "group_bits - step + word_bits\n        buffer = Signal(capacity, reset_less=True"),
    ],
)  # fmt: skip
def test_seeded_bug(create, old, new):
    with pytest.raises(AssertionError):
        exercise(mutant(hw.words, old, new), create)
