"""Both ways to hold what stalls, over random stalls, thousands of copies at once."""

import random
import re

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

import hw.pipeline
from hw.config import UnitConfig
from hw.emit import emit
from hw.handshake import Elastic, Handshake, Queued, cheapest_handshake
from hw.logic import named
from hw.pipeline import Bundle, Pipeline, Step
from hw.ports import Field
from tests.hw.gates import Gates, Run, from_planes

pytest.importorskip("pyosys")

WAYS = [Elastic, Queued]
WIDTH = 8
VECTORS = 256
CYCLES = 120


def increment() -> Step:
    """A step that adds one, so that a result that misses a stage is another one."""

    def compute(m: Module, bundle: Bundle) -> Bundle:
        following = named(m, "following", bundle["word"][0] + 1)
        return {"word": [following[:WIDTH]]}

    return Step(compute, {"word": WIDTH})


class Ports(wiring.Component):
    """A pipeline of words behind plain ports."""

    i_valid: In(1)
    i_ready: Out(1)
    i_word: In(WIDTH)
    o_valid: Out(1)
    o_ready: In(1)
    o_word: Out(WIDTH)
    clk: In(1)
    rst: In(1)

    def __init__(self, stages: int) -> None:
        self.stages = stages
        super().__init__()

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        m = Module()
        m.domains.sync = domain = ClockDomain("sync")
        domain.clk, domain.rst = self.clk, self.rst
        word = {"word": Field("word", 1, WIDTH, "unsigned")}
        # One step more than registers, and for one stage two.
        steps = [increment() for _ in range(max(2, self.stages - 1))]
        m.submodules.pipeline = pipeline = Pipeline(
            inputs=word, outputs=word, steps=steps, stages=self.stages
        )
        m.d.comb += [
            pipeline.i.valid.eq(self.i_valid),
            pipeline.i.payload["word"].eq(self.i_word),
            self.i_ready.eq(pipeline.i.ready),
            self.o_valid.eq(pipeline.o.valid),
            self.o_word.eq(pipeline.o.payload["word"]),
            pipeline.o.ready.eq(self.o_ready),
        ]
        return m


def text_of(way: type[Handshake], stages: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Verilog of a pipeline that holds its registers in that way."""
    with monkeypatch.context() as patch:
        patch.setattr(hw.pipeline, "cheapest_handshake", lambda *_: way)
        return verilog.convert(Ports(stages), name="top", emit_src=False)


class Trace:
    """What happens at the ports in every cycle, (cycles, vectors).

    Word k of every copy is k; while the source pauses it offers garbage.
    """

    def __init__(self, gates: Gates, pauses: float, stalls: float, *, resets: bool = False) -> None:
        rng = np.random.default_rng(5)
        garbage = random.Random(5)
        run = Run(gates, VECTORS)
        run.settle(clk=0, rst=1, i_valid=1, o_ready=1, i_word=3)
        run.clock()
        sent = np.zeros(VECTORS, np.int64)
        offered = np.zeros(VECTORS, bool)
        rows: dict[str, list[np.ndarray]] = {
            name: [] for name in ("i_fire", "i_ready", "o_valid", "o_ready", "o_word")
        }
        for cycle in range(CYCLES):
            # Half the copies stall in long runs.
            long = (np.arange(VECTORS) % 2 == 0) & (cycle % 16 < 8) & (stalls > 0)
            ready = (rng.random(VECTORS) >= stalls) & ~long
            offered |= rng.random(VECTORS) >= pauses
            reset = bool(resets and cycle == CYCLES // 2)
            words = np.where(offered, sent, garbage.getrandbits(WIDTH))
            run.settle(
                rst=int(reset),
                i_valid=self._plane(offered),
                o_ready=self._plane(ready),
                i_word=[*(self._plane(words >> k & 1)[0] for k in range(WIDTH))],
            )
            seen = {name: from_planes(run[name], VECTORS) for name in run.gates.outputs}
            fire = offered & seen["i_ready"][:, 0].astype(bool) & (not reset)
            rows["i_fire"].append(fire)
            rows["i_ready"].append(seen["i_ready"][:, 0].astype(bool))
            rows["o_valid"].append(seen["o_valid"][:, 0].astype(bool) & (not reset))
            rows["o_ready"].append(ready)
            rows["o_word"].append(seen["o_word"] @ (1 << np.arange(WIDTH)))
            run.clock()
            sent += fire
            offered &= ~fire
        for name, values in rows.items():
            setattr(self, name, np.array(values))

    @staticmethod
    def _plane(bits: np.ndarray) -> list[int]:
        packed = np.packbits(bits.astype(np.uint8), bitorder="little")
        return [int.from_bytes(packed.tobytes(), "little")]


def faults(trace: Trace, stages: int) -> list[str]:
    """What is wrong with a trace."""
    found = []
    o_fire = trace.o_valid & trace.o_ready
    went_in = trace.i_fire.cumsum(axis=0)
    came_out = o_fire.cumsum(axis=0)
    added = max(2, stages - 1)
    # The k-th result belongs to word k: none is lost, repeated or out of order.
    expected = (came_out - 1 + added) % (1 << WIDTH)
    if (o_fire & (trace.o_word != expected)).any():
        found.append("order")
    if (came_out > went_in).any():
        found.append("invented")
    if (went_in - came_out > stages).any():
        found.append("too many inside")
    held = trace.o_valid[:-1] & ~trace.o_ready[:-1]
    if (held & (~trace.o_valid[1:] | (trace.o_word[1:] != trace.o_word[:-1]))).any():
        found.append("not held")
    return found


def stalled(gates: Gates, stages: int) -> list[str]:
    """Faults under stalls of all kinds, and with a full and an empty pipeline."""
    rates = ((0.5, 0.5), (0.0, 0.5), (0.5, 0.0), (0.1, 0.8), (0.8, 0.1), (0.0, 0.97))
    return [fault for pair in rates for fault in faults(Trace(gates, *pair), stages)]


@pytest.mark.parametrize(
    ("way", "stages"), [(Elastic, 1), *((way, k) for way in WAYS for k in range(2, 6))]
)
class TestHandshake:
    """Both ways, the queue from two stages on."""

    @pytest.fixture
    def gates(self, way, stages, monkeypatch):
        return Gates(text_of(way, stages, monkeypatch), "top")

    def test_nothing_is_lost_repeated_or_reordered(self, gates, stages):
        assert stalled(gates, stages) == []

    def test_full_throughput(self, gates, stages):
        trace = Trace(gates, 0.0, 0.0)
        assert trace.i_fire.all()
        assert not trace.o_valid[:stages].any()
        assert trace.o_valid[stages:].all()
        assert faults(trace, stages) == []

    def test_full_pipeline_takes_as_many_as_stages(self, gates, stages):
        """Nothing leaves: just so many groups go in; then one goes in whenever one leaves."""
        trace = Trace(gates, 0.0, 0.97)
        inside = trace.i_fire.cumsum(axis=0) - (trace.o_valid & trace.o_ready).cumsum(axis=0)
        assert inside.max() == stages
        full = np.vstack([np.zeros((1, VECTORS), bool), inside[:-1] == stages])
        assert (trace.i_ready[full] == trace.o_ready[full]).all()

    def test_reset_empties(self, gates, stages):
        trace = Trace(gates, 0.0, 0.9, resets=True)
        middle = CYCLES // 2
        assert not trace.o_valid[middle + 1].any()
        # No word from before the reset comes after it.
        sent = trace.i_fire[: middle + 1].sum(axis=0)
        added = max(2, stages - 1)
        after = trace.o_valid[middle + 1 :] & trace.o_ready[middle + 1 :]
        order = after.cumsum(axis=0) - 1 + sent + added
        assert (trace.o_word[middle + 1 :][after] == order[after] % (1 << WIDTH)).all()


@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_every_inverted_gate_is_noticed(way, stages, monkeypatch):
    gates = Gates(text_of(way, stages, monkeypatch), "top")
    missed = []
    for gate in gates.inverted():
        # One that never moves, or stumbles, mixes nothing up.
        if not faults(Trace(gates, 0.1, 0.6), stages) and Trace(gates, 0.0, 0.0).i_fire.all():
            missed.append(gate)
    assert missed == []


def test_a_result_lost_under_stalls_is_noticed(monkeypatch):
    """What arrives while the output stalls is not put into the queue."""
    text = text_of(Queued, 3, monkeypatch)
    broken, count = re.subn(r"(assign \S*queue_push) = .*;", r"\1 = 1'h0;", text)
    assert count == 1
    assert {"order"} <= set(stalled(Gates(broken, "top"), 3))


class TestChoice:
    """Which way is taken."""

    @pytest.mark.parametrize("bits", [(0, 1), (10_000, 1), (0, 500)])
    def test_one_stage_has_no_queue(self, bits):
        assert cheapest_handshake(*bits, 1) is Elastic

    @pytest.mark.parametrize("stages", range(2, 8))
    def test_the_cheaper_one(self, stages):
        taken = []
        for inner in range(0, 3000, 50):
            way = cheapest_handshake(inner, 16, stages)
            costs = {choice: choice.cost(inner, 16, stages) for choice in WAYS}
            assert costs[way] == min(costs.values())
            taken.append(way)
        # The queue's cost does not grow with what it does not hold.
        change = taken.index(Queued)
        assert taken == [Elastic] * change + [Queued] * (len(taken) - change)
        assert change > 0

    @pytest.mark.parametrize(
        ("unit", "stages", "way"),
        [
            ("selector", 1, Elastic),
            ("selector", 2, Queued),
            ("selector", 4, Queued),
            # Its values are as wide as half of the group.
            ("sparsifier", 2, Elastic),
            ("sparsifier", 4, Elastic),
        ],
    )
    def test_units(self, unit, stages, way, monkeypatch):
        ways = []

        def record(*arguments: int) -> type[Handshake]:
            ways.append(cheapest_handshake(*arguments))
            return ways[-1]

        monkeypatch.setattr(hw.pipeline, "cheapest_handshake", record)
        emit(UnitConfig(n=8, m=16, unit=unit, selector="compare_matrix", pipeline=stages))
        assert ways == [way]
