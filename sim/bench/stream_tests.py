"""cocotb tests of any unit with one stream in and one out; `sim.bench.plan` says of which."""

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, with_timeout

from hw.ports import input_payload, output_payload
from sim.bench.checker import Checker
from sim.bench.drivers import Sink, Source, no_stalls, random_stalls
from sim.bench.monitor import Monitor
from sim.bench.plan import plan_from_environment

PERIOD_NS = 10
#: Cycles without an output after which nothing more is expected, beyond the latency.
QUIET_CYCLES = 20
#: Cycles between two reports of progress.
PROGRESS_CYCLES = 500


class Bench:
    """A unit between its drivers and monitors."""

    def __init__(self, dut: Any) -> None:
        self.plan = plan_from_environment()
        self.config = config = self.plan.config
        self.dut = dut
        self.clk = dut.clk
        self.source = Source(dut, tuple(input_payload(config)), self.plan.seed)
        self.sink = Sink(dut)
        self.inputs = Monitor(dut, "i", tuple(input_payload(config)))
        self.outputs = Monitor(dut, "o", tuple(output_payload(config)))
        self.checker = Checker(config)
        self._accepting: Any = None

    async def start(self) -> None:
        """Defined inputs before the first edge, a reset, monitors running."""
        self.source.idle()
        self.dut.o_ready.value = 0
        self.dut.rst.value = 1
        Clock(self.clk, PERIOD_NS, unit="ns").start(start_high=False)
        for _ in range(3):
            await self.clk.rising_edge
        self.dut.rst.value = 0
        for monitor in (self.inputs, self.outputs):
            cocotb.start_soon(monitor.watch())

    def accept(self, stalls: Iterator[bool]) -> None:
        """Let the sink follow another pattern of stalls from now on."""
        if self._accepting is not None:
            self._accepting.cancel()
        self._accepting = cocotb.start_soon(self.sink.accept(stalls))

    async def send(self, words: list[tuple[int, ...]], stalls: Iterator[bool]) -> None:
        """Send all payloads, watched by a timer."""
        # A transfer takes a few cycles under stalls on both sides; a unit that hangs takes forever.
        transfer = 19 + self.config.initiation_interval
        limit = 100 + transfer * (len(words) + self.config.latency_cycles)
        showing = cocotb.start_soon(self._show_progress())
        await with_timeout(self.source.send(words, stalls), limit * PERIOD_NS, "ns")
        showing.cancel()

    async def _show_progress(self) -> None:
        """Tell whoever started the simulation how far it has come."""
        path = Path(self.plan.progress)
        while True:
            path.write_text(str(self.source.sent))
            await ClockCycles(self.clk, PROGRESS_CYCLES)

    async def drain(self) -> None:
        """Take all outputs without stalls, then make sure that no more come."""
        self.accept(no_stalls())
        for _ in range(2 * self.config.latency_cycles + QUIET_CYCLES):
            await self.clk.rising_edge
        quiet = self.inputs.cycle - (self.outputs.cycles[-1] if self.outputs.cycles else 0)
        assert quiet > QUIET_CYCLES // 2, "outputs were still coming when none could be left"

    def report(self, name: str, transfers: int) -> None:
        """Add the numbers of a test to the report file."""
        path = Path(self.plan.report)
        numbers = json.loads(path.read_text()) if path.exists() else {}
        numbers[name] = {
            "groups": transfers,
            "checked": self.checker.checked,
            "mismatched": self.checker.mismatched,
            "cycles": self.inputs.cycle,
        }
        path.write_text(json.dumps(numbers))

    async def run(
        self, name: str, words: list[tuple[int, ...]], into: Iterator[bool], out_of: Iterator[bool]
    ) -> None:
        """Send everything, check everything, report."""
        await self.start()
        self.accept(out_of)
        await self.send(words, into)
        await self.drain()
        assert len(self.inputs.words) == len(words), (
            f"{len(self.inputs.words)} transfers went in, not {len(words)}"
        )
        try:
            self.checker.check(self.inputs.words, self.outputs.words)
        finally:
            self.report(name, len(words))


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """Every result is right, after exactly the latency; one group an initiation interval."""
    bench = Bench(dut)
    config = bench.config
    words = bench.plan.words(bench.plan.counts, salt=0)
    await bench.run("without_stalls", words, no_stalls(), no_stalls())

    entered = bench.inputs.cycles
    gaps = {later - earlier for earlier, later in pairwise(entered)}
    assert gaps <= {config.initiation_interval}, (
        f"groups entered every {sorted(gaps)} cycles, not {config.initiation_interval}"
    )
    if config.unit == "pe":
        last = list(input_payload(config)).index("last")
        entered = [
            cycle for cycle, word in zip(entered, bench.inputs.words, strict=True) if word[last]
        ]
    latencies = {
        left - came for came, left in zip(entered, bench.outputs.cycles, strict=True)
    }  # fmt: skip
    assert latencies <= {config.latency_cycles}, (
        f"results took {sorted(latencies)} cycles, not {config.latency_cycles}"
    )


@cocotb.test()
@cocotb.parametrize(side=["input", "output", "both"])
async def with_stalls(dut: Any, side: str) -> None:
    """Nothing is lost, repeated or reordered, whoever stalls."""
    bench = Bench(dut)
    seed = bench.plan.seed
    salt = ["input", "output", "both"].index(side) + 1
    words = bench.plan.words(bench.plan.stalled_counts, salt)
    into = no_stalls() if side == "output" else random_stalls(seed + salt)
    out_of = no_stalls() if side == "input" else random_stalls(seed - salt)
    await bench.run(f"stalls_{side}", words, into, out_of)


@cocotb.test()
async def reset_in_flight(dut: Any) -> None:
    """A reset empties the unit: nothing from before it comes out after it."""
    bench = Bench(dut)
    config = bench.config
    words = bench.plan.words(bench.plan.stalled_counts, salt=9)
    words = (words * 2)[: max(40, 4 * config.latency_cycles)]
    await bench.start()
    rng = random.Random(bench.plan.seed)
    for _ in range(4):
        bench.accept(random_stalls(rng.getrandbits(32)))
        cut = rng.randrange(len(words) // 2, len(words))
        await bench.send(words[:cut], random_stalls(rng.getrandbits(32)))
        # Offered while rst is high: must not count, although valid and ready may both be high.
        dut.rst.value = 1
        dut.i_valid.value = 1
        for _ in range(2):
            await bench.clk.rising_edge
        bench.source.idle()
        dut.rst.value = 0
        bench.checker.check(bench.inputs.words, bench.outputs.words, partial=True)
        for monitor in (bench.inputs, bench.outputs):
            monitor.restart()
        await bench.clk.falling_edge
        assert dut.o_valid.value == 0, "o_valid must be 0 after reset"
        await bench.clk.rising_edge
    bench.accept(random_stalls(rng.getrandbits(32)))
    await bench.send(words, no_stalls())
    await bench.drain()
    bench.checker.check(bench.inputs.words, bench.outputs.words)
    bench.report("reset_in_flight", len(bench.inputs.words))
