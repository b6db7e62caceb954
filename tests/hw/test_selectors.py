"""One class of tests for all architectures of the selector, on the Verilog that is emitted.

A selector that is right for all keys of 0 and 1 need not be right for wider keys, unless it only
compares and exchanges; so wider keys follow: all of them at 2:4, proofs, random ones.
"""

import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from hw.config import SELECTORS, UnitConfig
from hw.emit import emit
from tests.hw.formal import clocked_miter, miter, prove
from tests.hw.gates import Gates, Run, counted, from_planes, to_planes

pytest.importorskip("pyosys")

#: The format of all selectors here: key in bits 0 to 6.
DTYPE = "fp8_e5m2"
KEY_WIDTH = 7


def selector(n: int, m: int, bits: int, **options: object) -> UnitConfig:
    """A selector of keys of some bits."""
    return UnitConfig(n=n, m=m, unit="selector", dtype=DTYPE, score_bits=bits, **options)


@cache
def gates_of(config: UnitConfig) -> Gates:
    return Gates(emit(config).verilog, config.top)


def definition(keys: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Lane j is kept iff fewer than n lanes beat it; i beats j iff larger, or equal and i < j."""
    lanes = keys.shape[-1]
    beaten = np.zeros(keys.shape, np.int64)
    for i in range(lanes):
        for j in range(lanes):
            if i < j:
                beaten[:, j] += keys[:, i] >= keys[:, j]
            elif i > j:
                beaten[:, j] += keys[:, i] > keys[:, j]
    return beaten < n


def data_of(config: UnitConfig, keys: Sequence[int], vectors: int) -> list[int]:
    """Planes of ``i_data`` with the planes of the keys, all other bits random."""
    rng = random.Random(vectors)
    planes: list[int] = []
    bits = config.key_width
    for lane in range(config.m):
        planes += [rng.getrandbits(vectors) for _ in range(KEY_WIDTH - bits)]
        planes += keys[lane * bits : (lane + 1) * bits]
        planes.append(rng.getrandbits(vectors))
    return planes


def through(
    gates: Gates, config: UnitConfig, groups: list[dict[str, list[int]]], vectors: int
) -> list[list[int]]:
    """Masks of groups that follow each other without a pause; checks when they come and go."""
    run = Run(gates, vectors)
    run.settle(clk=0, rst=1, i_valid=1, o_ready=1, **groups[0])
    run.clock()
    run.settle(rst=0)
    sent: list[int] = []
    left: list[int] = []
    masks: list[list[int]] = []
    limit = len(groups) * config.initiation_interval + config.latency_cycles + 4
    for cycle in range(limit):
        run.settle(i_valid=int(len(sent) < len(groups)), **groups[min(len(sent), len(groups) - 1)])
        if run.bit("o_valid"):
            left.append(cycle)
            masks.append(run["o_mask"])
        if len(sent) < len(groups) and run.bit("i_ready"):
            sent.append(cycle)
        run.clock()
    interval = config.initiation_interval
    assert sent == list(range(sent[0], sent[0] + interval * len(groups), interval))
    assert left == [cycle + config.latency_cycles for cycle in sent]
    return masks


def is_definition(
    gates: Gates, config: UnitConfig, keys: Sequence[int], vectors: int, n: int | None = None
) -> bool:
    """Whether the selector keeps what the definition does, of keys and of the keys turned round."""
    groups, expected = [], []
    bits = config.key_width
    weights = 1 << np.arange(bits)
    for flip in (0, (1 << vectors) - 1):
        planes = [plane ^ flip for plane in keys]
        groups.append({"i_data": data_of(config, planes, vectors)})
        numbers = from_planes(planes, vectors).reshape(vectors, config.m, bits) @ weights
        kept = definition(numbers, config.n if n is None else n)
        expected.append(to_planes(kept.astype(np.int64), 1))
    return through(gates, config, groups, vectors) == expected


def random_keys(config: UnitConfig, vectors: int) -> list[int]:
    """Any keys, and keys of few values or that differ in one bit, a third each."""
    rng = np.random.default_rng(config.m)
    shape = (vectors, config.m)
    keys = rng.integers(0, 1 << config.key_width, shape)
    few = rng.integers(0, 1 << config.key_width, (vectors, 3))
    near = keys[:, :1] ^ (rng.integers(0, 2, shape) << rng.integers(0, config.key_width, shape))
    tied = np.take_along_axis(few, rng.integers(0, 3, shape), axis=1)
    which = np.arange(vectors) % 3
    keys[which == 1] = tied[which == 1]
    keys[which == 2] = near[which == 2]
    return to_planes(keys, config.key_width)


#: n, m, register stages; up to 16 lanes all keys of one bit are tried.
PATTERNS = [
    (1, 2, 0), (2, 2, 1), (1, 3, 2), (2, 3, 0), (2, 4, 1), (4, 4, 0), (1, 5, 1), (3, 7, 0),
    (3, 7, 4), (6, 7, 2), (4, 8, 3), (5, 9, 0), (10, 11, 1), (2, 13, 0), (8, 16, 0), (8, 16, 5),
    (1, 16, 1), (15, 16, 0), (11, 16, 2), (16, 16, 1),
]  # fmt: skip
LARGE = [(12, 24, 0), (7, 24, 2), (16, 32, 0), (1, 32, 1), (31, 32, 3)]

REFERENCE = "compare_matrix"

#: A reference beside the unit that is proved equal.
BESIDE = """
  wire r_ready, r_valid;
  wire [M-1:0] mask;
  reference r(.clk(clk), .rst(rst), .i_valid(i_valid), .i_ready(r_ready), .i_data(i_data),
    .o_valid(r_valid), .o_ready(o_ready), .o_mask(mask));
"""

#: A mistake in lane 0 in one case of 256.
RARE = ("o_mask == mask", "o_mask == (mask ^ (i_data[6:3] == 9 && i_data[14:11] == 9))")


@pytest.mark.parametrize("name", SELECTORS)
class TestSelector:
    """What every architecture must do."""

    @pytest.mark.parametrize(("n", "m", "stages"), PATTERNS)
    def test_all_keys_of_one_bit(self, name, n, m, stages):
        config = selector(n, m, 1, selector=name, pipeline=stages)
        assert is_definition(gates_of(config), config, counted(m), 1 << m)

    @pytest.mark.parametrize("stages", [0, 1, 3])
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_all_keys_of_four_lanes(self, name, n, stages):
        config = selector(n, 4, 4, selector=name, pipeline=stages)
        assert is_definition(gates_of(config), config, counted(16), 1 << 16)

    @pytest.mark.parametrize(("n", "m", "stages"), LARGE)
    def test_many_lanes(self, name, n, m, stages):
        config = selector(n, m, 4, selector=name, pipeline=stages)
        assert is_definition(gates_of(config), config, random_keys(config, 3000), 3000)

    @pytest.mark.parametrize(("n", "m", "stages"), [(8, 16, 1), (3, 7, 2), (9, 10, 0)])
    def test_wide_keys(self, name, n, m, stages):
        config = selector(n, m, KEY_WIDTH, selector=name, pipeline=stages)
        assert is_definition(gates_of(config), config, random_keys(config, 9000), 9000)

    def test_input_register(self, name):
        config = selector(3, 7, 1, selector=name, input_register=True)
        assert is_definition(gates_of(config), config, counted(7), 1 << 7)

    @pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 7)])
    def test_another_n_is_noticed(self, name, n, m):
        """The checks above fail if the definition is another one."""
        config = selector(n, m, 1, selector=name)
        for wrong in (n - 1, n + 1):
            assert not is_definition(gates_of(config), config, counted(m), 1 << m, n=wrong)

    def test_every_inverted_gate_is_noticed(self, name):
        """The checks above fail if any gate does the opposite, unless it is redundant."""
        config = selector(2, 4, 2, selector=name, pipeline=0)
        gates = Gates(emit(config).verilog, config.top)
        missed = []
        for gate in gates.inverted():
            try:
                passed = is_definition(gates, config, counted(8), 1 << 8)
            except (AssertionError, IndexError):
                passed = False
            if passed:
                missed.append(gate)
        assert len(missed) <= len(gates.order) // 20, missed

    @pytest.mark.parametrize(
        ("n", "m"),
        [(2, 4), (3, 5), pytest.param(4, 8, marks=pytest.mark.slow)],
    )
    def test_proved_equal(self, name, n, m, tmp_path):
        # At 4:8 the proofs of these two take a minute with keys of four bits.
        bits = 3 if m == 8 and name in ("rank_merge", "selection_network") else 4
        units = [
            selector(n, m, bits, selector=architecture, pipeline=0, name=top)
            for architecture, top in ((REFERENCE, "reference"), (name, "candidate"))
        ]
        if not units[1].is_serial:
            prove(tmp_path, units, miter(units[1], "o_mask == mask", BESIDE), RARE)
            return
        # No combinational form: unrolled from reset to the end of its first group.
        cycles = units[1].initiation_interval
        expected = f"o_valid == (cycle == {cycles}) && (!o_valid || o_mask == mask)"
        good = clocked_miter(units[1], expected, BESIDE, held=True)
        prove(tmp_path, units, good, RARE, steps=cycles + 1)


#: Lanes 8; a list that does not fill its port; odd shares; a list of one.
FLEXIBLE = [
    ((2, 4), (4, 8)),
    ((1, 2), (2, 4), (4, 8)),
    ((8, 8), (1, 8), (3, 8), (5, 8), (7, 8)),
    ((1, 4), (2, 8), (3, 4), (6, 8), (1, 2), (4, 4), (2, 2)),
    ((3, 8),),
    ((2, 2), (4, 4), (8, 8)),
]


def flexible_masks(keys: np.ndarray, pattern: np.ndarray, patterns: Sequence[tuple[int, int]]):
    """Every vector's groups side by side; no lane where there is no such pattern."""
    mask = np.zeros(keys.shape, bool)
    for number, (n, m) in enumerate(patterns):
        for start in range(0, keys.shape[1], m):
            group = slice(start, start + m)
            kept = definition(keys[:, group], n)
            mask[:, group] |= kept & (pattern == number)[:, None]
    return mask


class TestRunTime:
    """Selectors that are told with each group what to keep: every number that the port carries."""

    def differing(self, config, port, keys, numbers, definition_of) -> int:
        """Vectors whose masks are not those of a definition."""
        vectors = len(numbers)
        bits = config.key_width
        planes = to_planes(keys, bits)
        width = config.pattern_width if port == "pattern" else config.m.bit_length()
        group = {
            "i_data": data_of(config, planes, vectors),
            f"i_{port}": to_planes(numbers[:, None], width),
        }
        (mask,) = through(gates_of(config), config, [group], vectors)
        return int((from_planes(mask, vectors) != definition_of(keys, numbers)).any(axis=1).sum())

    def check(self, config, port, definition_of, wrong) -> None:
        """All keys of one bit, or random ones, with all numbers; and a wrong definition fails."""
        width = config.pattern_width if port == "pattern" else config.m.bit_length()
        if config.key_width == 1:
            every = np.arange(1 << config.m + width)
            keys = (every[:, None] >> np.arange(config.m)) & 1
            numbers = every >> config.m
        else:
            planes = random_keys(config, 6000)
            bits = from_planes(planes, 6000).reshape(6000, config.m, config.key_width)
            keys = bits @ (1 << np.arange(config.key_width))
            numbers = np.random.default_rng(1).integers(0, 1 << width, 6000)
        assert self.differing(config, port, keys, numbers, definition_of) == 0
        assert self.differing(config, port, keys, numbers, wrong) > 0

    @pytest.mark.parametrize("patterns", FLEXIBLE)
    @pytest.mark.parametrize(("bits", "stages"), [(1, 0), (1, 2), (4, 1), (7, 4)])
    def test_flexible(self, patterns, bits, stages):
        config = UnitConfig(
            flexible=patterns, unit="selector", dtype=DTYPE, score_bits=bits, pipeline=stages
        )
        # One lane more of the last pattern, or one less.
        n, m = patterns[-1]
        wrong = (*patterns[:-1], (n + 1 if n < m else n - 1, m))
        self.check(
            config,
            "pattern",
            lambda keys, numbers: flexible_masks(keys, numbers, patterns),
            lambda keys, numbers: flexible_masks(keys, numbers, wrong),
        )

    @pytest.mark.parametrize(
        "patterns",
        [
            ((2, 4), (4, 8), (8, 16), (16, 32)),
            ((1, 3), (2, 3), (3, 9), (8, 9)),
            ((5, 24), (2, 3), (1, 12), (6, 6), (4, 8)),
        ],
    )
    def test_flexible_with_many_lanes(self, patterns):
        config = UnitConfig(flexible=patterns, unit="selector", dtype=DTYPE, score_bits=3)
        swapped = (patterns[1], patterns[0], *patterns[2:])
        self.check(
            config,
            "pattern",
            lambda keys, numbers: flexible_masks(keys, numbers, patterns),
            lambda keys, numbers: flexible_masks(keys, numbers, swapped),
        )

    @pytest.mark.parametrize(("m", "bits", "stages"), [
        (2, 1, 1), (3, 1, 0), (7, 1, 2), (8, 1, 0), (8, 1, 5), (12, 1, 1),
        (8, 5, 1), (16, 4, 0), (24, 3, 2), (32, 2, 1),
    ])  # fmt: skip
    def test_any_n(self, m, bits, stages):
        config = selector(1, m, bits, n_runtime=True, pipeline=stages)

        def masks(keys: np.ndarray, numbers: np.ndarray, *, most: int = m) -> np.ndarray:
            return definition(keys, np.where(numbers > most, 0, numbers)[:, None])

        self.check(config, "n", masks, lambda keys, numbers: masks(keys, numbers, most=m - 1))
