"""Units behind each other."""

from collections.abc import Mapping

from amaranth.hdl import Module
from amaranth.lib import stream, wiring

__all__ = ["Chain"]


class Chain(wiring.Component):
    """Units behind each other.

    Parameters
    ----------
    units
        By the names that they have inside; the output payload of each is the input of the next.
    """

    def __init__(self, units: Mapping[str, wiring.Component]) -> None:
        self._units = dict(units)
        first, *_, last = units.values()
        super().__init__({"i": first.signature.members["i"], "o": last.signature.members["o"]})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        source = self.i
        for name, unit in self._units.items():
            m.submodules[name] = unit
            _connect(m, unit.i, source)
            source = unit.o
        _connect(m, self.o, source)
        return m


def _connect(m: Module, target: stream.Interface, source: stream.Interface) -> None:
    m.d.comb += [
        target.valid.eq(source.valid),
        target.payload.eq(source.payload),
        source.ready.eq(target.ready),
    ]
