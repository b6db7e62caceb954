"""Components with one stream in and one out in Amaranth's simulator."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

#: One transfer, by the names of its fields.
Payload = dict[str, int]

#: Cycles in which nothing more may come.
QUIET_CYCLES = 5

#: Cycles a transfer that are not too many, whoever stalls.
PATIENCE = 40


@dataclass
class Run:
    """What is offered between two resets, what is expected of it, and when it happened.

    Parameters
    ----------
    offered, expected
        Payloads at the input, and at the output; a field that is not expected may be anything.
    cycles
        Cycles until a reset cuts it short; None: all is expected.
    entered, left
        Cycles of the transfers at the input, and at the output.
    """

    offered: list[Payload]
    expected: list[Payload]
    cycles: int | None = None
    entered: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return (len(self.entered), len(self.left)) == (len(self.offered), len(self.expected))


def simulate(
    component: wiring.Component,
    runs: Sequence[Run],
    *,
    pauses: float = 0,
    stalls: float = 0,
    seed: int = 0,
    end: Callable[[int], int] | None = None,
) -> None:
    """Drive the streams `i` and `o` of a component and check what comes, with resets between runs.

    Of each output: that it is the expected one, that it waits for its transfer unchanged, that it
    does not depend on `o.ready`.  While the source pauses it offers garbage; what it offers in a
    reset must not count.

    Parameters
    ----------
    component
        With streams `i` and `o`.
    runs
        Take the cycles of the transfers.
    pauses, stalls
        Share of the cycles in which the source, or the sink, holds back.
    seed
        Of all that is random.
    end
        Of the number of the group at the output, port `end`; None: it is `o.last`, where there is
        such a port.
    """
    rng = random.Random(seed)
    m = Module()
    m.domains.sync = domain = ClockDomain("sync")
    m.submodules.component = component
    source, sink = component.i, component.o
    if end is None and hasattr(component, "end"):
        m.d.comb += component.end.eq(sink.payload.last)
    inputs, outputs = source.payload.shape().members, sink.payload.shape().members

    def garbage() -> Payload:
        return {name: rng.getrandbits(width) for name, width in inputs.items()}

    def output(ctx, ready: int) -> Payload | None:
        ctx.set(sink.ready, ready)
        payload = {name: ctx.get(sink.payload[name]) for name in outputs}
        return payload if ctx.get(sink.valid) else None

    async def cycles_of(ctx, run: Run) -> None:
        limit = QUIET_CYCLES + PATIENCE * (len(run.offered) + len(run.expected))
        offering = waiting = False
        quiet = 0
        for cycle in range(limit if run.cycles is None else run.cycles):
            sent, seen = len(run.entered), len(run.left)
            quiet += run.is_done
            if quiet > QUIET_CYCLES and run.cycles is None:
                return
            offering |= sent < len(run.offered) and rng.random() >= pauses
            ready = rng.random() >= stalls
            ctx.set(source.valid, offering)
            ctx.set(source.payload, run.offered[sent] if offering else garbage())
            if end is not None:
                ctx.set(component.end, end(seen))
            refused, payload = output(ctx, not ready), output(ctx, ready)
            assert refused == payload, "o must not look at o.ready"
            if payload is not None:
                assert seen < len(run.expected), f"output {seen} is one too many"
                assert run.expected[seen].items() <= payload.items(), f"output {seen} is wrong"
            assert not (waiting and payload is None), f"output {seen} was taken back"
            waiting = payload is not None and not ready
            if payload is not None and ready:
                run.left.append(cycle)
            if offering and ctx.get(source.ready):
                run.entered.append(cycle)
                offering = False
            await ctx.tick()
        assert run.cycles is not None, f"{len(run.left)} outputs, not {len(run.expected)}"

    async def bench(ctx) -> None:
        for run in runs:
            await cycles_of(ctx, run)
            ctx.set(domain.rst, 1)
            ctx.set(source.valid, 1)
            ctx.set(source.payload, garbage())
            await ctx.tick()
            ctx.set(domain.rst, 0)
            ctx.set(source.valid, 0)
            assert ctx.get(sink.valid) == 0, "o.valid after reset"

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
