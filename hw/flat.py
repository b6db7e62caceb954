"""Units as Verilog modules: flat, named ports, and instances of such modules in others."""

from collections.abc import Iterator, Mapping

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

__all__ = ["Flat", "FlatUnit", "instance", "parts_of"]


def _streams(signature: wiring.Signature) -> Iterator[tuple[str, bool, dict[str, int]]]:
    """The streams of a unit: prefix of the ports, whether it is an input, bits of each part."""
    for prefix, member in signature.members.items():
        layout = member.signature.members["payload"].shape
        widths = {name: field.width for name, field in layout}
        yield prefix, member.flow is In, widths


class FlatUnit(wiring.Component):
    """What has only flat ports, clock and reset among them."""

    @property
    def ports(self) -> dict[str, Signal]:
        """The ports by name, in order."""
        return {name: getattr(self, name) for name in self.signature.members}


class Flat(FlatUnit):
    """A unit with flat ports.

    ``clk``, ``rst``, and for each stream of the unit ``<prefix>_valid``, ``<prefix>_ready`` and a
    port for each part of its payload, which is called by the first letter of the prefix and its
    name.  All units have ``clk`` and ``rst``, combinational ones too.

    Parameters
    ----------
    name
        Of the unit inside.
    unit
        The unit.
    """

    def __init__(self, name: str, unit: wiring.Component) -> None:
        self._name = name
        self._unit = unit
        members: dict[str, Member] = {"clk": In(1), "rst": In(1)}
        for prefix, is_input, widths in _streams(unit.signature):
            forward, backward = (In, Out) if is_input else (Out, In)
            members |= {f"{prefix}_valid": forward(1), f"{prefix}_ready": backward(1)}
            for field, width in widths.items():
                members[f"{prefix[0]}_{field}"] = forward(width)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        m.domains.sync = domain = ClockDomain("sync")
        domain.clk, domain.rst = self.clk, self.rst
        m.submodules[self._name] = unit = self._unit
        for prefix, is_input, widths in _streams(self._unit.signature):
            inner = getattr(unit, prefix)
            # What goes the way of the payload, and what goes against it.
            pairs = [
                (inner.valid, getattr(self, f"{prefix}_valid")),
                *((inner.payload[name], getattr(self, f"{prefix[0]}_{name}")) for name in widths),
                (getattr(self, f"{prefix}_ready"), inner.ready),
            ]
            m.d.comb += [a.eq(b) if is_input else b.eq(a) for a, b in pairs]
        return m


def parts_of(unit: wiring.Component) -> Mapping[str, wiring.Component]:
    """The units that a unit has instances of, and those that these have, by their modules' names.

    Mostly none.
    """
    parts: dict[str, wiring.Component] = {}
    for name, part in getattr(unit, "parts", {}).items():
        parts |= {name: part, **parts_of(part)}
    return parts


def instance(m: Module, name: str, module: str, unit: wiring.Component) -> wiring.PureInterface:
    """Place an instance of a module that `Flat` makes of a unit; its streams as the unit has them.

    Parameters
    ----------
    m
        Gets the instance.
    name
        Of the instance.
    module
        Name of the module.
    unit
        The unit, which stays outside.
    """
    streams = unit.signature.create(path=(name,))
    connected: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    for prefix, is_input, widths in _streams(unit.signature):
        outer = getattr(streams, prefix)
        forward, backward = ("i", "o") if is_input else ("o", "i")
        connected[f"{forward}_{prefix}_valid"] = outer.valid
        connected[f"{backward}_{prefix}_ready"] = outer.ready
        for field, width in widths.items():
            wire = Signal(width, name=f"{name}_{prefix[0]}_{field}")
            connected[f"{forward}_{prefix[0]}_{field}"] = wire
            pair = (wire, outer.payload[field])
            target, source = pair if is_input else pair[::-1]
            m.d.comb += target.eq(source)
    m.submodules[name] = Instance(module, **connected)
    return streams
