"""Groups of bits to words of another width and back, without gaps inside a token."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["GroupsToWords", "WordsToGroups"]


def _groups(group_bits: int) -> stream.Signature:
    return stream.Signature(data.StructLayout({"group": group_bits, "last": 1}))


def _words(word_bits: int) -> stream.Signature:
    sizes = {"data": word_bits, "bytes": (word_bits // 8).bit_length(), "last": 1}
    return stream.Signature(data.StructLayout(sizes))


def _shift_left(m: Module, name: str, value: Value, amount: Value, step: int, width: int) -> Value:
    """``value << (amount * step)`` in `width` bits, a multiplexer a bit of the amount."""
    for place in range(len(amount)):
        moved = Cat(Const(0, min(step << place, width)), value)[:width]
        following = Signal(max(len(moved), len(value)), name=f"{name}{place}")
        m.d.comb += following.eq(Mux(amount[place], moved, value))
        value = following
    return value[:width]


class GroupsToWords(wiring.Component):
    """Packs groups of G bits into words of W: the bits of a token, one after the other.

    A buffer takes a group wherever its bits end and gives words from its low end.  ``last`` ends a
    token: its last word has zeros behind its bits, and the next token starts with a word of its
    own.  Latency one cycle from the group that fills a word.  A group a cycle where G <= W, else a
    word a cycle, also from token to token.  ``i.ready`` depends combinationally on ``o.ready``.
    Reset empties the buffer.

    G + W - g flip-flops and a shifter of G bits with W / g places, g = gcd(G, W).

    Parameters
    ----------
    group_bits
        G, at least 1.
    word_bits
        W, a power of two, at least 8.

    Members
    -------
    i : In(stream)
        ``group``, ``last``.
    o : Out(stream)
        ``data``; ``bytes``, how many of its bytes hold bits of the token: all, but at its end;
        ``last``.
    """

    def __init__(self, *, group_bits: int, word_bits: int) -> None:
        self._group_bits = group_bits
        self._word_bits = word_bits
        super().__init__({"i": In(_groups(group_bits)), "o": Out(_words(word_bits))})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        group_bits, word_bits = self._group_bits, self._word_bits
        # Within a token all counts of bits are multiples of this.
        unit = gcd(group_bits, word_bits)
        units_word, units_group = word_bits // unit, group_bits // unit
        capacity = word_bits - unit + group_bits
        buffer = Signal(capacity)
        fill = Signal(range(capacity // unit + 1))
        ending = Signal()

        is_final = Signal()
        emit = Signal()
        take = Signal()
        after = Signal.like(fill)
        has_word = Signal()
        m.d.comb += [
            has_word.eq(fill >= units_word),
            is_final.eq(ending & (fill <= units_word)),
            self.o.valid.eq(has_word | ending),
            self.o.payload.data.eq(buffer[:word_bits]),
            self.o.payload.bytes.eq(Mux(is_final, self._bytes(fill, unit), Const(word_bits // 8))),
            self.o.payload.last.eq(is_final),
            emit.eq(self.o.valid & self.o.ready),
            after.eq(Mux(emit, Mux(is_final, 0, fill - units_word), fill)),
            self.i.ready.eq(Mux(ending, emit & is_final, after < units_word)),
            take.eq(self.i.valid & self.i.ready),
        ]
        # A group is only taken where less than a word is left: that is the count modulo a word.
        place = Signal((units_word - 1).bit_length())
        m.d.comb += place.eq(Mux(ending, 0, fill[: len(place)]))
        group = Cat(self.i.payload.group, Const(0, capacity - group_bits))
        moved = _shift_left(m, "moved", group, place, unit, capacity)
        kept = Mux(emit, buffer >> word_bits, buffer)
        m.d.sync += [
            buffer.eq(kept | (moved & take.replicate(capacity))),
            fill.eq(after + Mux(take, units_group, 0)),
        ]
        with m.If(take):
            m.d.sync += ending.eq(self.i.payload.last)
        with m.Elif(emit & is_final):
            m.d.sync += ending.eq(0)
        return m

    @staticmethod
    def _bytes(fill: Value, unit: int) -> Value:
        """Bytes that hold so many units."""
        if unit % 8 == 0:
            return fill * (unit // 8)
        per_byte = 8 // unit
        return (fill + (per_byte - 1)) >> (per_byte.bit_length() - 1)


class WordsToGroups(wiring.Component):
    """The inverse of `GroupsToWords`: words of W bits to groups of G.

    What is left behind the last whole group of a token is dropped, and so is the content of a word
    behind its ``bytes``.  A token without a whole group gives no group at all.  A group that is
    complete does not wait for the next word: ``o.last`` is set if the last word has bits of the
    last group, as with all that `GroupsToWords` makes; a last word that has none ends the token
    without it.  Latency one cycle from the word that completes a group.  A group a cycle where
    G <= W, else a word a cycle, also from token to token.  ``i.ready`` depends combinationally on
    ``o.ready``.  Reset empties the buffer.

    G + W - g flip-flops and a shifter of W bits with G / g places, g = gcd(G, W).

    Parameters
    ----------
    group_bits
        G, at least 8, so that ``bytes`` tells the groups, unless ``end`` does.
    word_bits
        W, a power of two, at least 8.

    Members
    -------
    i : In(stream)
        ``data``; ``bytes``, which counts where ``last`` is set; ``last``.
    o : Out(stream)
        ``group``, ``last``.
    end : In(1)
        The group at the output is the last one of its token: ``o.last``, or that of the stream that
        goes with this one, where this one's groups have less than 8 bits.
    """

    def __init__(self, *, group_bits: int, word_bits: int) -> None:
        self._group_bits = group_bits
        self._word_bits = word_bits
        super().__init__({"i": In(_words(word_bits)), "o": Out(_groups(group_bits)), "end": In(1)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        group_bits, word_bits = self._group_bits, self._word_bits
        step = gcd(group_bits, word_bits)
        # Bytes count too, at the end of a token.
        unit = gcd(step, 8)
        units_word, units_group = word_bits // unit, group_bits // unit
        capacity = group_bits - step + word_bits
        buffer = Signal(capacity)
        fill = Signal(range(capacity // unit + 1))
        ending = Signal()

        has_group = Signal()
        emit = Signal()
        done = Signal()
        take = Signal()
        rest = Signal.like(fill)
        after = Signal.like(fill)
        m.d.comb += [
            has_group.eq(fill >= units_group),
            self.o.valid.eq(has_group),
            self.o.payload.group.eq(buffer[:group_bits]),
            self.o.payload.last.eq(ending & (fill < 2 * units_group)),
            emit.eq(has_group & self.o.ready),
            # The end of a token; at once if it has no whole group.
            done.eq(ending & ((emit & self.end) | ~has_group)),
            rest.eq(Mux(has_group, fill - units_group, fill)),
            after.eq(Mux(done, 0, Mux(emit, rest, fill))),
            self.i.ready.eq(Mux(ending, done, emit | ~has_group) & (done | (rest < units_group))),
            take.eq(self.i.valid & self.i.ready),
        ]
        added = Signal.like(fill)
        m.d.comb += added.eq(
            Mux(self.i.payload.last, self.i.payload.bytes * (8 // unit), units_word)
        )
        # A word is only taken where less than a group is left.
        place = Signal((group_bits // step - 1).bit_length())
        m.d.comb += place.eq(Mux(ending, 0, rest >> ((step // unit).bit_length() - 1)))
        word = Cat(self.i.payload.data, Const(0, capacity - word_bits))
        moved = _shift_left(m, "moved", word, place, step, capacity)
        kept = Mux(done, 0, Mux(emit, buffer >> group_bits, buffer))
        m.d.sync += [
            buffer.eq(kept | (moved & take.replicate(capacity))),
            fill.eq(after + Mux(take, added, 0)),
        ]
        with m.If(take):
            m.d.sync += ending.eq(self.i.payload.last)
        with m.Elif(done):
            m.d.sync += ending.eq(0)
        return m
