"""The scale memory in Amaranth's simulator, against lists of tables."""

import random
import re
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

import pytest
from amaranth.lib import wiring
from hypothesis import given, settings
from hypothesis import strategies as st

import hw.units.scale_memory
from hw.config import UnitConfig
from hw.emit import emit
from sim.table_schedule import table_schedule, table_sizes
from tests.hw.streams import Run, simulate
from tests.hw.yosys import run_yosys
from tests.mutant import mutant

#: Bits of a word: two scales of five.
M, SCALE_FORMAT, WORD_BITS = 2, "u5", 10


@dataclass(frozen=True)
class Table:
    """Words of a table, at most those that a bank has, and for how many tokens they leave."""

    words: list[int]
    tokens: int


def unit(depth: int, module: ModuleType = hw.units.scale_memory) -> wiring.Component:
    config = UnitConfig(n=1, m=M, unit="scale_memory", scale_format=SCALE_FORMAT, depth=depth)
    return module.ScaleMemoryUnit(config)


def tables_of(sizes: list[tuple[int, int]], seed: int) -> list[Table]:
    """Tables of random words."""
    rng = random.Random(seed)
    return [Table([rng.getrandbits(WORD_BITS) for _ in range(n)], tokens) for n, tokens in sizes]


def streaming(tables: list[Table], depth: int, cycles: int | None = None, seed: int = 0) -> Run:
    """Numbers of tokens before the last word are garbage, and so is `last` of a full table."""
    rng = random.Random(seed)
    offered, expected = [], []
    for table in tables:
        *others, final = [{"scale": word, "last": 0} for word in table.words]
        offered += [word | {"tokens": rng.getrandbits(32)} for word in others]
        last = rng.getrandbits(1) if len(table.words) == depth else 1
        offered.append(final | {"last": last, "tokens": table.tokens})
        expected += [*others, final | {"last": 1}] * table.tokens
    return Run(offered, expected, cycles)


DEPTHS = st.sampled_from([1, 2, 3, 4, 5, 8, 11])
RATES = st.sampled_from([0.0, 0.3, 0.7])
SEEDS = st.integers(0, 1 << 32)


@st.composite
def depth_and_sizes(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """Words of a bank; words and tokens of some tables."""
    depth = draw(DEPTHS)
    size = st.tuples(st.integers(1, depth), st.integers(0, 5))
    return depth, draw(st.lists(size, min_size=1, max_size=8))


random_tables = settings(max_examples=40, deadline=None, derandomize=True)


class TestScaleMemory:
    @random_tables
    @given(depth_and_sizes(), RATES, RATES, SEEDS)
    def test_any_tables_and_stalls(self, sizes, pauses, stalls, seed):
        depth, tables = sizes
        run = streaming(tables_of(tables, seed), depth, seed=seed)
        simulate(unit(depth), [run], pauses=pauses, stalls=stalls, seed=seed)
        assert len(run.left) == sum(words * tokens for words, tokens in tables)

    @random_tables
    @given(depth_and_sizes(), SEEDS)
    def test_latency_and_throughput(self, sizes, seed):
        depth, tables = sizes
        run = streaming(tables_of(tables, seed), depth, seed=seed)
        simulate(unit(depth), [run], seed=seed)
        assert (run.entered, run.left) == table_schedule(tables)

    @random_tables
    @given(depth_and_sizes(), st.integers(1, 60), RATES, RATES, SEEDS)
    def test_reset_in_flight(self, sizes, cycles, pauses, stalls, seed):
        depth, tables = sizes
        runs = [
            streaming(tables_of(tables * 4, seed + k), depth, limit, seed)
            for k, limit in enumerate((cycles, cycles // 2))
        ]
        last = streaming(tables_of(tables, seed), depth, seed=seed)
        simulate(unit(depth), [*runs, last], pauses=pauses, stalls=stalls, seed=seed)

    def test_no_bubbles(self):
        """Tables of one size for one token each: a word enters and leaves in every cycle."""
        for depth, length in ((1, 1), (4, 4), (5, 3)):
            run = streaming(tables_of([(length, 1)] * 6, seed=1), depth)
            simulate(unit(depth), [run])
            assert run.entered == list(range(6 * length))
            assert run.left == list(range(length + 1, 7 * length + 1))


class TestSchedule:
    """Worked out by hand."""

    def test_one_table(self):
        assert table_schedule([(3, 2)]) == ([0, 1, 2], [4, 5, 6, 7, 8, 9])
        assert table_schedule([(3, 1)], start=7) == ([7, 8, 9], [11, 12, 13])

    def test_next_table_is_there_in_time(self):
        assert table_schedule([(2, 1), (2, 1), (2, 1)]) == (
            [0, 1, 2, 3, 4, 5],
            [3, 4, 5, 6, 7, 8],
        )

    def test_both_banks_are_taken(self):
        """The third table waits for the last word of the first, which is out in cycle 7."""
        entered, left = table_schedule([(1, 6), (1, 1), (1, 0), (1, 1)])
        assert entered == [0, 1, 7, 8]
        assert left == [2, 3, 4, 5, 6, 7, 8, 10]

    def test_sizes(self):
        words = [(0, 9), (1, 2), (1, 0), (0, 9), (0, 9), (0, 4), (1, 3), (0, 9)]
        assert table_sizes(words, 3) == [(2, 2), (1, 0), (3, 4), (1, 3)]


# The memory

CONFIG = UnitConfig(n=8, m=16, unit="scale_memory", depth=256)

needs_yosys = pytest.mark.skipif(find_spec("pyosys") is None, reason="pyosys is not installed")

#: A word is written while one is read, and at which addresses.
PORTS = re.compile(
    r"if \((?P<write>\w+)\)\s+(?P<memory>\w+)\[(?P<write_address>\w+)\] <= i_scale;.*"
    r"if \((?P<read>\w+)\) begin\s+\w+ <= (?P=memory)\[(?P<read_address>\w+)\];",
    re.DOTALL,
)


@needs_yosys
def test_becomes_block_memories(tmp_path):
    """2 * 256 * 128 bits are 16 blocks of 4,096, with the registers of their outputs in them."""
    (tmp_path / "unit.v").write_text(emit(CONFIG).verilog)
    log = run_yosys(
        tmp_path,
        [
            ["read_verilog", str(tmp_path / "unit.v")],
            ["synth_ice40", "-no-rw-check", "-top", CONFIG.top],
            ["select", "-assert-count", "16", "t:SB_RAM40_4K"],
            # Two tables' tokens and last addresses, two addresses, six single bits.
            ["select", "-assert-count", str(2 * 32 + 2 * 9 + 2 * 9 + 6), "t:SB_DFF*"],
        ],
    )
    assert "ERROR" not in log


@needs_yosys
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_ports_never_meet(depth, tmp_path):
    """Whatever comes in the first cycles after reset, no word is read while it is written."""
    config = UnitConfig(n=1, m=2, unit="scale_memory", scale_format="u1", depth=depth)
    sound = emit(config).verilog
    ready = re.compile(r"assign i_ready = ~ \w+;")
    assert len(ready.findall(sound)) == 1
    names = ["sound", "broken"]
    for name, text in zip(names, (sound, ready.sub("assign i_ready = 1;", sound)), strict=True):
        ports = PORTS.search(text)
        text = text.replace("\n);", ",\n  ok\n);\noutput ok;", 1).replace(config.top, name)
        meet = "{write} && {read} && {write_address} == {read_address}".format(**ports.groupdict())
        text = text.replace("endmodule", f"assign ok = !({meet});\nendmodule")
        (tmp_path / f"{name}.v").write_text(text)
    proof = ["-prove", "ok", "1", "-seq", "1", "-set-at", "1", "rst", "1"]
    proof += ["-tempinduct-baseonly", "-maxsteps", "14", "-set-def-inputs"]
    commands = [["read_verilog", *(str(tmp_path / f"{name}.v") for name in names)]]
    for name, flag in zip(names, ("-verify", "-falsify"), strict=True):
        commands += [
            ["design", "-save", "all"],
            ["prep", "-top", name],
            ["memory_map"],
            ["opt", "-full"],
            ["sat", flag, *proof, name],
            ["design", "-load", "all"],
        ]
    log = run_yosys(tmp_path, commands)
    assert log.count("proved base case for 14 steps: SUCCESS!") == 1
    assert log.count("proof finished - model found for base case: FAIL!") == 1


# Seeded bugs


def exercise(module: ModuleType) -> None:
    """Tables of all sizes with stalls, a reset among them; then without stalls, and when.

    First one for more tokens than anybody waits for: all bits of the number count.
    """
    word = {"scale": 5, "last": 1}
    run = Run([word | {"tokens": (1 << 31) + 1}], [word] * 40, cycles=40)
    simulate(unit(2, module), [run])
    assert run.left == list(range(2, 40))
    for depth in (1, 3, 4):
        rng = random.Random(depth)
        sizes = [(rng.randint(1, depth), rng.randint(0, 3)) for _ in range(20)]
        for cycles in (17, 31):
            runs = [
                streaming(tables_of(sizes, cycles + depth), depth, limit, cycles)
                for limit in (cycles, None)
            ]
            simulate(unit(depth, module), runs, pauses=0.3, stalls=0.5, seed=cycles)
        run = streaming(tables_of(sizes, depth), depth)
        simulate(unit(depth, module), [run])
        assert (run.entered, run.left) == table_schedule(sizes)


def test_exercise():
    exercise(hw.units.scale_memory)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A bank is swapped too early, or not at all.
        ("read_bank.eq(read_bank ^ done)", "read_bank.eq(read_bank ^ (read & is_last))"),
        ("write_bank.eq(write_bank ^ complete)", "write_bank.eq(write_bank ^ ends)"),
        ("write_bank.eq(write_bank ^ complete)", "write_bank.eq(write_bank)"),
        ("write_address.eq(first(write_bank ^ complete))", "write_address.eq(first(write_bank))"),
        # A word is overwritten while it is still read.
        ("self.i.ready.eq(~waiting)", "self.i.ready.eq(1)"),
        ("self.i.ready.eq(~waiting)", "self.i.ready.eq(~waiting | self.o.ready)"),
        ("write_port.en.eq(write)", "write_port.en.eq(1)"),
        # Tokens are off by one.
        ("tokens == 1", "tokens == 0"),
        ("tokens == 1", "tokens == 2"),
        ("tokens.eq(tokens - 1)", "tokens.eq(tokens)"),
        ("tokens == 1", "tokens[:31] == 1"),
        # Tables are too long or too short.
        ("2 * depth - 1, depth - 1", "2 * depth - 1, depth"),
        ("word.last | is_full", "word.last"),
        ("word.last | is_full", "is_full"),
        ("complete.eq(ends & word.tokens.any())", "complete.eq(ends)"),
        # The output does not hold, or is read too late.
        ("read_port.en.eq(read)", "read_port.en.eq(1)"),
        ("serving & (~self.o.valid | self.o.ready)", "serving & ~self.o.valid"),
        ("last.eq(is_last)", "last.eq(done)"),
        # What waits is forgotten, or does not give way.
        ("serving.eq(waiting | complete)", "serving.eq(waiting)"),
        ("Mux(waiting, waiting_end, write_address)", "write_address"),
        ("Mux(waiting, waiting_tokens, word.tokens)", "word.tokens"),
        ("waiting.eq(0)", "waiting.eq(waiting)"),
        ("done | ~serving", "done"),
        # Reset leaves something behind.
        *(
            (f"        {name} = Signal()\n", f"        {name} = Signal(reset_less=True)\n")
            for name in ("write_bank", "waiting", "serving", "read_bank")
        ),
        *(
            (f"{name} = Signal(range(2 * depth))", f"{name} = Signal(range(2*depth), reset_less=1)")
            for name in ("write_address", "read_address")
        ),
    ],
)  # fmt: skip
def test_seeded_bug(old, new):
    with pytest.raises(AssertionError):
        exercise(mutant(hw.units.scale_memory, old, new))
