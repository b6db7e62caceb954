"""Between payloads and streams of narrower beats, the lowest bits first."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import beat_count, beat_width

__all__ = ["Collect", "Spread"]


class Collect(wiring.Component):
    """Beats to payloads: beat b holds bits from ``b * word`` on, the last one unused bits on top.

    Combinational from the last beat of a payload to the output: no latency.  A beat a cycle.

    Parameters
    ----------
    bits
        Of a payload.
    word
        Bits of a beat, at most; see `hw.axi.beat_width`.

    Members
    -------
    i : In(stream)
        ``data``, ``last``.
    o : Out(stream)
        ``data``, and the ``last`` of its last beat.
    is_empty : Out(1)
        Whether no beat waits for others.
    misplaced : Out(1)
        Whether a beat with ``last`` is taken that is not the last one of its payload.
    """

    def __init__(self, bits: int, word: int) -> None:
        self._width = beat_width(bits, word)
        self._count = beat_count(bits, word)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": self._width, "last": 1}))),
                "o": Out(stream.Signature(data.StructLayout({"data": bits, "last": 1}))),
                "is_empty": Out(1),
                "misplaced": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        earlier = Signal((self._count - 1) * self._width, reset_less=True)
        # Which beat comes next, one-hot.
        place = Signal(self._count, init=1)
        take = Signal()
        everything = Cat(earlier, self.i.payload.data)
        m.d.comb += [
            self.i.ready.eq(~place[-1] | self.o.ready),
            self.o.valid.eq(place[-1] & self.i.valid),
            self.o.payload.data.eq(everything),
            self.o.payload.last.eq(self.i.payload.last),
            take.eq(self.i.valid & self.i.ready),
            self.is_empty.eq(place[0]),
            self.misplaced.eq(take & ~place[-1] & self.i.payload.last),
        ]
        with m.If(take):
            m.d.sync += [place.eq(place.rotate_left(1)), earlier.eq(everything[self._width :])]
        return m


class Spread(wiring.Component):
    """Payloads to beats: the inverse of `Collect`, with the bits on top 0.

    Latency one cycle to the first beat.  A beat a cycle, also from one payload to the next.

    Parameters
    ----------
    bits, word
        As of `Collect`.
    user
        Bits that all beats of a payload have beside them.

    Members
    -------
    i : In(stream)
        ``data``, ``user``.
    o : Out(stream)
        ``data``, ``user``, and ``last`` with the last beat of a payload.
    """

    def __init__(self, bits: int, word: int, user: int) -> None:
        self._bits = bits
        self._width = beat_width(bits, word)
        self._count = beat_count(bits, word)
        beat = {"data": self._width, "user": user, "last": 1}
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": bits, "user": user}))),
                "o": Out(stream.Signature(data.StructLayout(beat))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        held = Signal(self._bits, reset_less=True)
        user = Signal.like(self.i.payload.user, reset_less=True)
        # Which beat is at the output, one-hot.
        place = Signal(self._count, init=1)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | (self.o.ready & place[-1])),
            self.o.payload.data.eq(held[: self._width]),
            self.o.payload.user.eq(user),
            self.o.payload.last.eq(place[-1]),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                place.eq(place.rotate_left(1)),
                held.eq(held[self._width :]),
                self.o.valid.eq(~place[-1]),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                held.eq(self.i.payload.data),
                user.eq(self.i.payload.user),
                self.o.valid.eq(1),
            ]
        return m
