"""Reductions: one result for all groups up to one with ``last``."""

from collections.abc import Callable, Mapping, Sequence

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import payload_layout
from hw.ports import Field

__all__ = ["Gather", "Reduction"]

#: Takes the module, the payload of a group, whether there is one, and whether it is the first of
#: its reduction; gives registers that hold the result of the groups taken so far.
Gather = Callable[[Module, data.View, Value, Value], Mapping[str, Sequence[Value]]]


class Reduction(wiring.Component):
    """What the groups of a reduction have in common, in registers that are the output.

    Latency one cycle from the group with ``last``; one group a cycle.  While a result waits at the
    output nothing is taken, for the registers that gather are the output's.  Reset forgets the
    reduction.

    Parameters
    ----------
    inputs, outputs
        Content of the two payloads; ``last`` among the inputs.
    gather
        The registers, by the names of the outputs.

    Members
    -------
    i : In(stream)
        Groups.
    o : Out(stream)
        Results.
    """

    def __init__(
        self, *, inputs: Mapping[str, Field], outputs: Mapping[str, Field], gather: Gather
    ) -> None:
        self._gather = gather
        super().__init__(
            {
                "i": In(stream.Signature(payload_layout(inputs))),
                "o": Out(stream.Signature(payload_layout(outputs))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        take = Signal()
        fresh = Signal(init=1)
        registers = self._gather(m, self.i.payload, take, fresh)
        with m.If(take):
            m.d.sync += fresh.eq(self.i.payload.last)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(take & self.i.payload.last)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
            *(self.o.payload[name].eq(Cat(values)) for name, values in registers.items()),
        ]
        return m
