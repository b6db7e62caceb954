"""Scale memory unit: holds the scales of a layer and streams them again for every token."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from hw.config import UnitConfig
from hw.units.streams import stream_members

__all__ = ["ScaleMemoryUnit"]


class ScaleMemoryUnit(wiring.Component):
    """Takes tables of scales and gives each as often as it was told to.

    A table is the words up to one with ``i_last``, or `depth` of them, whichever comes first; a
    word is the scales of one group.  ``i_tokens`` of its last word says how many tokens it serves.
    For each table in order its words leave, from the first to the last, that many times, the last
    one with ``o_last``; a table for no token is dropped.  While one table leaves, the next one is
    taken: each has a bank of its own.

    Latency 2 cycles from the last word of a table to its first word at the output.  A word a cycle
    on both sides, from token to token, and from table to table where the next one is complete.
    ``i.ready`` comes from a register and is low only while both banks hold tables of which words
    are still to be read.  Reset forgets both.

    One memory of twice `depth` words with one write and one read port, both synchronous, which
    never meet at an address.  The output is the register of the read port, which holds while it
    stalls.  What the memory holds at power-up is never read.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._depth = config.depth
        super().__init__(stream_members(config))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        depth, word = self._depth, self.i.payload
        m.submodules.memory = memory = Memory(shape=len(word.scale), depth=2 * depth, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()

        def first(bank: Value) -> Value:
            """The address at which a bank begins."""
            return Mux(bank, depth, 0)

        # The table that comes in.
        write_bank = Signal()
        write_address = Signal(range(2 * depth))
        write = Signal()
        ends = Signal()
        complete = Signal()
        # The one that waits for the end of the one that goes out: its last address and its tokens.
        waiting = Signal()
        waiting_end = Signal(range(2 * depth), reset_less=True)
        waiting_tokens = Signal.like(word.tokens, reset_less=True)
        # The one that goes out, how many more times.
        serving = Signal()
        end = Signal.like(waiting_end)
        tokens = Signal.like(waiting_tokens)
        read_bank = Signal()
        read_address = Signal(range(2 * depth))
        read = Signal()
        is_last = Signal()
        done = Signal()

        is_full = write_address == Mux(write_bank, 2 * depth - 1, depth - 1)
        m.d.comb += [
            self.i.ready.eq(~waiting),
            write.eq(self.i.valid & self.i.ready),
            ends.eq(write & (word.last | is_full)),
            complete.eq(ends & word.tokens.any()),
            write_port.addr.eq(write_address),
            write_port.data.eq(word.scale),
            write_port.en.eq(write),
            read.eq(serving & (~self.o.valid | self.o.ready)),
            is_last.eq(read_address == end),
            done.eq(read & is_last & (tokens == 1)),
            read_port.addr.eq(read_address),
            read_port.en.eq(read),
            self.o.payload.scale.eq(read_port.data),
        ]

        with m.If(ends):
            # A table for no token makes room for the next one.
            m.d.sync += write_address.eq(first(write_bank ^ complete))
        with m.Elif(write):
            m.d.sync += write_address.eq(write_address + 1)
        m.d.sync += write_bank.eq(write_bank ^ complete)

        with m.If(done):
            m.d.sync += read_address.eq(first(~read_bank))
        with m.Elif(read):
            m.d.sync += read_address.eq(Mux(is_last, first(read_bank), read_address + 1))
        m.d.sync += read_bank.eq(read_bank ^ done)

        with m.If(read & is_last):
            m.d.sync += tokens.eq(tokens - 1)
        with m.If(done | ~serving):
            m.d.sync += [
                serving.eq(waiting | complete),
                waiting.eq(0),
                end.eq(Mux(waiting, waiting_end, write_address)),
                tokens.eq(Mux(waiting, waiting_tokens, word.tokens)),
            ]
        with m.Elif(complete):
            m.d.sync += waiting.eq(1)
        with m.If(complete):
            m.d.sync += [waiting_end.eq(write_address), waiting_tokens.eq(word.tokens)]

        last = Signal(reset_less=True)
        m.d.comb += self.o.payload.last.eq(last)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(serving), last.eq(is_last)]
        return m
