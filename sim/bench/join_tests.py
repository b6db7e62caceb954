"""cocotb tests of units that are joined: streams go in, and one comes out."""

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, gather, with_timeout

from sim.bench.drivers import Sink, Source, no_stalls, random_stalls
from sim.bench.join import join_from_environment
from sim.bench.monitor import Monitor

PERIOD_NS = 10
#: Cycles after the last input in which all outputs have come.
QUIET_CYCLES = 100


@cocotb.test()
@cocotb.parametrize(side=["none", "input", "output", "both"])
async def joined(dut: Any, side: str) -> None:
    """What is expected comes out, in order, and no more; without stalls in every cycle."""
    join = join_from_environment()
    sources = [
        (Source(dut, prefix, join.names[prefix], seed), words, seed)
        for seed, (prefix, words) in enumerate(join.sent.items())
    ]
    sink, outputs = Sink(dut, "o"), Monitor(dut, "o", join.names["o"])
    for source, _, _ in sources:
        source.idle()
    sink.refuse()
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False)
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    cocotb.start_soon(outputs.watch())
    cocotb.start_soon(sink.accept(random_stalls(9) if side in ("output", "both") else no_stalls()))
    into = side in ("input", "both")
    sending = gather(
        *(
            source.send(words, random_stalls(k) if into else no_stalls())
            for source, words, k in sources
        )
    )
    await with_timeout(sending, 20 * PERIOD_NS * (len(join.expected) + QUIET_CYCLES), "ns")
    await ClockCycles(dut.clk, QUIET_CYCLES)
    assert len(outputs.words) == len(join.expected), (
        f"{len(outputs.words)} outputs, {len(join.expected)} expected"
    )
    for place, (actual, expected) in enumerate(zip(outputs.words, join.expected, strict=True)):
        assert actual == expected, f"output {place} differs"
    if side == "none":
        taken = outputs.cycles[-1] - outputs.cycles[0] + 1
        assert taken == len(outputs.words), f"{len(outputs.words)} outputs took {taken} cycles"
