"""cocotb tests of the streams of a tile: how far each goes while another stands still."""

from itertools import chain, repeat
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles

from sim.bench.drivers import no_stalls
from sim.bench.plan import plan_from_environment
from sim.bench.stream_tests import Bench

#: Cycles after which nothing moves any more.
CYCLES = 200


@cocotb.test()
@cocotb.parametrize(standing=["i", "w", "o"])
async def steps_ahead(dut: Any, standing: str) -> None:
    """As many steps as there are places for enter each stream while one stands still.

    Weights: one step at work, one that waits.  Activations: one in each stage before the PEs.
    While results wait, as many more as the PEs have stages.
    """
    plan = plan_from_environment()
    bench = Bench(dut)
    config = bench.config
    words = plan.words(plan.counts, salt=0)
    await bench.start()
    if standing != "o":
        bench.accept(no_stalls())
    for prefix, source in bench.sources.items():
        if prefix != standing:
            # A reduction of one step each.
            last = [(*word[:1], 1, *word[2:]) if prefix == "i" else word for word in words[prefix]]
            cocotb.start_soon(source.send(last, repeat(False)))
    await ClockCycles(bench.clk, CYCLES)
    stages = config.stages if standing == "o" else 0
    entered = {prefix: len(bench.monitors[prefix].words) for prefix in bench.sources}
    front = config.latency_cycles - config.stages
    expected = {"i": front + stages, "w": 2 + stages} | {standing: 0}
    expected.pop("o", None)
    assert entered == expected, f"{entered} steps entered, not {expected}"


@cocotb.test()
async def late_weights(dut: Any) -> None:
    """Weights that come late enough decide when the result comes, others do not."""
    plan = plan_from_environment()
    bench = Bench(dut)
    config = bench.config
    words = plan.words(plan.counts, salt=0)
    await bench.start()
    bench.accept(no_stalls())
    for delay in range(config.stages + 3):
        (data, _, *rest), weights = words["i"][delay], words["w"][delay]
        cocotb.start_soon(bench.sources["i"].send([(data, 1, *rest)], no_stalls()))
        stalls = chain(repeat(True, delay), repeat(False))
        cocotb.start_soon(bench.sources["w"].send([weights], stalls))
        await ClockCycles(bench.clk, delay + 2 * config.latency_cycles)
        entered = {prefix: bench.monitors[prefix].cycles[-1] for prefix in bench.sources}
        assert entered["w"] == entered["i"] + delay
        due = max(entered["i"] + config.latency_cycles, entered["w"] + config.stages + 2)
        left = bench.outputs.cycles
        assert left[delay:] == [due], f"the result left in cycles {left[delay:]}, not {due}"
    bench.checker.check(bench.transfers)
