"""AXI4-Lite: registers that a description lists, behind a subordinate's port."""

from collections.abc import Iterable, Mapping

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from hw.axi import ADDRESS_WIDTH, LITE_SIGNALS
from hw.logic import any_of, named
from hw.registers import Register, RegisterField

__all__ = ["BUS", "RegisterFile"]

#: Signals of the port, as the subordinate sees them.
BUS: dict[str, Member] = {
    name: (In if direction == "input" else Out)(width)
    for name, (direction, width) in LITE_SIGNALS.items()
}

_OKAY, _SUBORDINATE_ERROR = 0, 2


class RegisterFile(wiring.Component):
    """Registers behind AXI4-Lite.

    A write happens when its address and its data are there, in whichever order they came, and the
    response of the write before has gone; a read takes one cycle.  The lowest two bits of an
    address do not count, nor do ``awprot`` and ``arprot``.  What is not there, registers of which
    there are fewer among them, answers SLVERR and changes nothing.

    Parameters
    ----------
    registers
        The description.
    counts
        How many there are of those registers that a unit may have fewer of; 0: none.

    Members
    -------
    awaddr, ...
        The port: signals as in `BUS`.
    <register>_<field>
        ``ro``: what is read.  ``rw``: what was written.  ``w1c``: sets it.  ``wo``: what is being
        written, 0 in all other cycles.  Of several registers of a name a vector, the first lowest.
    """

    def __init__(self, registers: Iterable[Register], counts: Mapping[str, int]) -> None:
        self._registers = [
            (register, counts.get(register.name, register.count)) for register in registers
        ]
        members: dict[str, Member] = dict(BUS)
        for register, count in self._registers:
            for field in register.fields:
                flow = In if field.access in ("ro", "w1c") else Out
                members[f"{register.name}_{field.name}"] = flow(count * field.width)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        write, word, data, strobes = self._write_channel(m)
        contents: dict[int, Value] = {}
        for register, count in self._registers:
            for k in range(count):
                place = register.offset // 4 + k
                hit = named(m, f"write_{register.name}{k}", write & (word == place))
                content: list[Value] = []
                for field in register.fields:
                    gap = field.low - sum(map(len, content))
                    own = slice(field.low, field.low + field.width)
                    value = self._field(
                        m, f"{register.name}_{field.name}", field, k, hit, data[own], strobes[own]
                    )
                    content += [Const(0, gap), value]
                contents[place] = Cat(content)
        is_known = any_of([word == place for place in contents])
        with m.If(write):
            m.d.sync += self.bresp.eq(Mux(is_known, _OKAY, _SUBORDINATE_ERROR))
        self._read_channel(m, contents)
        return m

    def _write_channel(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Whether a write happens, to which word, its data, and which bits of them count."""
        has_address, has_data = Signal(), Signal()
        word = Signal(ADDRESS_WIDTH - 2, reset_less=True)
        data = Signal(32, reset_less=True)
        strobes = Signal(4, reset_less=True)
        write = Signal()
        m.d.comb += [
            write.eq(has_address & has_data & (~self.bvalid | self.bready)),
            self.awready.eq(~has_address),
            self.wready.eq(~has_data),
        ]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_data.eq(0), self.bvalid.eq(1)]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [has_address.eq(1), word.eq(self.awaddr[2:])]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [has_data.eq(1), data.eq(self.wdata), strobes.eq(self.wstrb)]
        return write, word, data, Cat(bit.replicate(8) for bit in strobes)

    def _read_channel(self, m: Module, contents: Mapping[int, Value]) -> None:
        """The word that an address names, or an error."""
        m.d.comb += self.arready.eq(~self.rvalid)
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        hits = {
            place: named(m, f"read_place{place}", self.araddr[2:] == place) for place in contents
        }
        words = [
            content & hits[place].replicate(len(content)) for place, content in contents.items()
        ]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [
                self.rvalid.eq(1),
                self.rdata.eq(any_of(words)),
                self.rresp.eq(Mux(any_of(list(hits.values())), _OKAY, _SUBORDINATE_ERROR)),
            ]

    def _field(
        self,
        m: Module,
        name: str,
        field: RegisterField,
        place: int,
        hit: Value,
        data: Value,
        strobes: Value,
    ) -> Value:
        """The logic of a field of the register at one place; what is read of it."""
        port = getattr(self, name).word_select(place, field.width)
        if field.access == "ro":
            return port
        if field.access == "wo":
            m.d.comb += port.eq(Mux(hit, data & strobes, 0))
            return Const(0, field.width)
        held = Signal(field.width, name=f"{name}{place}_held", init=field.reset)
        if field.access == "rw":
            with m.If(hit):
                m.d.sync += held.eq((held & ~strobes) | (data & strobes))
            m.d.comb += port.eq(held)
        else:
            cleared = Mux(hit, data & strobes, 0)
            m.d.sync += held.eq((held & ~cleared) | port)
        return held
