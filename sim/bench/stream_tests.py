"""cocotb tests of any unit with streams in and out; `sim.bench.plan` says of which."""

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, gather, with_timeout

from hw.config import REDUCING_UNITS
from hw.ports import input_payload, input_streams, output_streams
from sim.bench.checker import Checker
from sim.bench.drivers import Sink, Source, no_stalls, random_stalls
from sim.bench.monitor import Monitor
from sim.bench.plan import Transfers, plan_from_environment
from sim.table_schedule import table_schedule, table_sizes

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
        streams = {**input_streams(config), **output_streams(config)}
        names = {prefix: tuple(payload) for prefix, payload in streams.items()}
        self.monitors = {prefix: Monitor(dut, prefix, names[prefix]) for prefix in names}
        self.sources = {
            prefix: Source(dut, prefix, names[prefix], self.plan.seed + k)
            for k, prefix in enumerate(input_streams(config))
        }
        self.sinks = [Sink(dut, prefix) for prefix in output_streams(config)]
        self.checker = Checker(config)
        self._accepting: list[Any] = []

    @property
    def inputs(self) -> Monitor:
        """What watches the first input stream."""
        return self.monitors["i"]

    @property
    def outputs(self) -> Monitor:
        """What watches the first output stream."""
        return self.monitors["o"]

    @property
    def span(self) -> int:
        """Cycles from the first transfer into the unit to the last one out of it, both included."""
        entered = [cycle for prefix in self.sources for cycle in self.monitors[prefix].cycles[:1]]
        left = self.outputs.cycles[-1:]
        return left[0] - min(entered) + 1 if entered and left else 0

    @property
    def transfers(self) -> dict[str, list[tuple[int, ...]]]:
        """What was transferred in each stream."""
        return {prefix: monitor.words for prefix, monitor in self.monitors.items()}

    async def start(self) -> None:
        """Defined inputs before the first edge, a reset, monitors running."""
        self.idle()
        for sink in self.sinks:
            sink.refuse()
        self.dut.rst.value = 1
        Clock(self.clk, PERIOD_NS, unit="ns").start(start_high=False)
        for _ in range(3):
            await self.clk.rising_edge
        self.dut.rst.value = 0
        for monitor in self.monitors.values():
            cocotb.start_soon(monitor.watch())

    def idle(self) -> None:
        """Offer nothing in any stream."""
        for source in self.sources.values():
            source.idle()

    def accept(self, stalls: Iterator[bool]) -> None:
        """Let the sinks follow another pattern of stalls from now on."""
        for accepting in self._accepting:
            accepting.cancel()
        self._accepting = [cocotb.start_soon(sink.accept(stalls)) for sink in self.sinks]

    def start_sending(self, words: Transfers, stalls: Iterator[bool]) -> list[Any]:
        """Send all payloads of all streams."""
        return [
            cocotb.start_soon(source.send(words[prefix], stalls))
            for prefix, source in self.sources.items()
        ]

    async def send(self, words: Transfers, stalls: Iterator[bool]) -> None:
        """Send all payloads, watched by a timer."""
        # A transfer takes a few cycles under stalls on both sides; a unit that hangs takes forever.
        transfer = 19 + self.config.initiation_interval
        count = max(map(len, words.values()))
        limit = 100 + transfer * (count + self.config.latency_cycles)
        showing = cocotb.start_soon(self._show_progress())
        sending = gather(
            *(source.send(words[prefix], stalls) for prefix, source in self.sources.items())
        )
        await with_timeout(sending, limit * PERIOD_NS, "ns")
        showing.cancel()

    async def _show_progress(self) -> None:
        """Tell whoever started the simulation how far it has come."""
        path = Path(self.plan.progress)
        while True:
            path.write_text(str(self.sources["i"].sent))
            await ClockCycles(self.clk, PROGRESS_CYCLES)

    async def drain(self) -> None:
        """Take all outputs without stalls, then make sure that no more come."""
        self.accept(no_stalls())
        config = self.config
        cycles = 2 * config.latency_cycles + config.initiation_interval + QUIET_CYCLES
        if config.unit == "scale_memory":
            # Two whole tables may still be inside.
            cycles += self.checker.missing(self.transfers)
        for _ in range(cycles):
            await self.clk.rising_edge
        quiet = self.inputs.cycle - (self.outputs.cycles[-1] if self.outputs.cycles else 0)
        assert quiet > QUIET_CYCLES // 2, "outputs were still coming when none could be left"

    def report(self, name: str, transfers: int, outputs: Transfers | None = None) -> None:
        """Add the numbers of a test to the report file, and what came out if it is given."""
        path = Path(self.plan.report)
        numbers = json.loads(path.read_text()) if path.exists() else {}
        numbers[name] = {
            "outputs": outputs,
            "groups": transfers,
            "checked": self.checker.checked,
            "mismatched": self.checker.mismatched,
            "cycles": self.inputs.cycle,
            "span": self.span,
        }
        path.write_text(json.dumps(numbers))

    async def run(
        self, name: str, words: Transfers, into: Iterator[bool], out_of: Iterator[bool]
    ) -> None:
        """Send everything, check everything, report."""
        await self.start()
        self.accept(out_of)
        await self.send(words, into)
        await self.drain()
        for prefix, sent in words.items():
            entered = len(self.monitors[prefix].words)
            assert entered == len(sent), f"{entered} transfers went in, not {len(sent)}"
        outputs = None
        if self.plan.given is not None:
            outputs = {
                prefix: self.monitors[prefix].words for prefix in output_streams(self.config)
            }
        try:
            self.checker.check(self.transfers)
        finally:
            self.report(name, len(words["i"]), outputs)


@cocotb.test()
async def without_stalls(dut: Any) -> None:
    """Every result is right, after exactly the latency; one group an initiation interval."""
    bench = Bench(dut)
    config = bench.config
    words = bench.plan.words(bench.plan.counts, salt=0)
    await bench.run("without_stalls", words, no_stalls(), no_stalls())

    entered = bench.inputs.cycles
    if config.unit in ("packer", "unpacker"):
        check_rate(bench)
        return
    if config.unit == "scale_memory":
        check_tables(bench)
        return
    gaps = {later - earlier for earlier, later in pairwise(entered)}
    assert gaps <= {config.initiation_interval}, (
        f"groups entered every {sorted(gaps)} cycles, not {config.initiation_interval}"
    )
    if config.unit in REDUCING_UNITS:
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


def check_rate(bench: Bench) -> None:
    """A packed stream moves a word or a group in every cycle, whichever are more.

    Each token may take a cycle more, in which its last word is not full.
    """
    config = bench.config
    entered, left = bench.inputs.cycles, bench.outputs.cycles
    assert left[0] > entered[0], "the first result came before its input"
    busiest = max(len(monitor.words) for monitor in bench.monitors.values())
    last = list(input_payload(config)).index("last")
    tokens = sum(word[last] for word in bench.inputs.words)
    cycles = left[-1] - entered[0] + 1
    assert cycles <= busiest + tokens + config.latency_cycles, (
        f"{busiest} transfers of {tokens} tokens took {cycles} cycles"
    )


def check_tables(bench: Bench) -> None:
    """Words enter and leave a scale memory when they can."""
    config, names = bench.config, list(input_payload(bench.config))
    last, tokens = names.index("last"), names.index("tokens")
    sizes = table_sizes([(word[last], word[tokens]) for word in bench.inputs.words], config.depth)
    schedule = table_schedule(sizes, latency=config.latency_cycles, start=bench.inputs.cycles[0])
    for monitor, verb, expected in zip(
        (bench.inputs, bench.outputs), ("entered", "left"), schedule, strict=True
    ):
        for place, (cycle, due) in enumerate(zip(monitor.cycles, expected, strict=True)):
            assert cycle == due, f"word {place} {verb} in cycle {cycle}, not {due}"


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


def shortened(words: Transfers, longest: int) -> Transfers:
    """The first payloads, some twice if there are few; several streams stay whole."""
    if len(words) > 1:
        return words
    return {prefix: (list(sent) * 2)[:longest] for prefix, sent in words.items()}


@cocotb.test()
async def reset_in_flight(dut: Any) -> None:
    """A reset empties the unit: nothing from before it comes out after it."""
    bench = Bench(dut)
    config = bench.config
    longest = max(40, 4 * config.latency_cycles)
    words = shortened(bench.plan.words(bench.plan.stalled_counts, salt=9), longest)
    await bench.start()
    rng = random.Random(bench.plan.seed)
    for _ in range(4):
        bench.accept(random_stalls(rng.getrandbits(32)))
        sending = bench.start_sending(words, random_stalls(rng.getrandbits(32)))
        groups = rng.randrange(longest, 5 * longest // 2)
        await ClockCycles(bench.clk, groups * (config.initiation_interval + 1) // 2)
        for task in sending:
            task.cancel()
        # Offered while rst is high: must not count, although valid and ready may both be high.
        dut.rst.value = 1
        for prefix in bench.sources:
            getattr(dut, f"{prefix}_valid").value = 1
        for _ in range(2):
            await bench.clk.rising_edge
        bench.idle()
        dut.rst.value = 0
        bench.checker.check(bench.transfers, partial=True)
        for monitor in bench.monitors.values():
            monitor.restart()
        await bench.clk.falling_edge
        for prefix in output_streams(config):
            valid = getattr(dut, f"{prefix}_valid").value
            assert valid == 0, f"{prefix}_valid must be 0 after reset"
        await bench.clk.rising_edge
    bench.accept(random_stalls(rng.getrandbits(32)))
    await bench.send(words, no_stalls())
    await bench.drain()
    bench.checker.check(bench.transfers)
    bench.report("reset_in_flight", len(bench.inputs.words))
