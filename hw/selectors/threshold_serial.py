"""Threshold search, one bit of all keys a cycle: the smallest selector."""

from collections.abc import Sequence
from functools import reduce
from operator import and_

from amaranth.hdl import Const, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.choice import serial_cycles
from hw.logic import all_of, any_of, named
from hw.ranking import at_least, sort_bits

__all__ = ["ThresholdSerial"]


class ThresholdSerial(wiring.Component):
    """Small selector: a bit of every key a cycle, most significant first.

    Lane j is kept iff fewer than N lanes beat it: see `hw.selectors.Selector`.  The keys are
    followed by the complement of the lane's number, so that no two are equal and the lower lane
    wins a tie.

    Two registers a lane hold what the bits so far say: it may be kept (``possible``), it will be
    kept (``sure``).  With the lane's bit b, a cycle does ::

        one          = sure | possible & b
        enough       = N lanes or more have one = 1
        possible_new = one if enough else possible
        sure_new     = sure if enough else one

    All lanes start as possible and not sure.  Where `enough`, the N-th largest key has a 1 here, so
    that those with a 0 are out; otherwise it has a 0, so that those with a 1 are kept.  After the
    last bit N lanes are possible: they are the mask.  Further cycles, whatever their bits, leave it
    as it is, so that nothing has to hold it.

    The source holds the keys, so that there is no register for a group: an and-or for each lane
    picks the bit that a counter of cycles asks for.

    Latency `cycles`: C = ceil((key_width + ceil(log2 M)) / bits_per_cycle); at best a group in
    C + 1 cycles.  Area about M * (key_width + 2) and-ors, M * bits_per_cycle small counts, 2 M
    registers; depth about log2(key_width) + bits_per_cycle * (2 log2(M) + 4) gates.

    Parameters
    ----------
    n, m
        Pattern.
    key_width
        Bits of one key.
    bits_per_cycle
        Steps of the search in one cycle: fewer cycles, each of them longer, and more area.

    Members
    -------
    keys : In(m * key_width)
        Key of lane j at bits ``[j * key_width +: key_width]``; held while ``run``.
    run : In(1)
        There are keys; stays until the edge with ``release``.  While it is 0, and in reset,
        everything is at its start.
    release : In(1)
        The mask is taken at this edge: back to the start, so that the next cycle may be the first
        of the next group.  Before ``done`` it gives the group up.
    done : Out(1)
        ``mask`` is valid; stays until ``release``.
    mask : Out(m)
        Bit j: lane j is kept.
    """

    def __init__(self, *, n: int, m: int, key_width: int, bits_per_cycle: int = 1) -> None:
        self.n = n
        self.m = m
        self.key_width = key_width
        self.bits_per_cycle = bits_per_cycle
        super().__init__(
            {
                "keys": In(m * key_width),
                "run": In(1),
                "release": In(1),
                "done": Out(1),
                "mask": Out(m),
            }
        )

    @property
    def cycles(self) -> int:
        """Cycles from the first with ``run`` to the first with ``done``."""
        return serial_cycles(m=self.m, key_width=self.key_width, bits_per_cycle=self.bits_per_cycle)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        restart = named(m, "restart", ResetSignal() | self.release | ~self.run)
        now = self._count_cycles(m, restart)
        # Reset is part of `restart`.
        lanes = range(self.m)
        possible = [Signal(name=f"possible{lane}", init=1, reset_less=True) for lane in lanes]
        sure = [Signal(name=f"sure{lane}", reset_less=True) for lane in lanes]
        m.d.comb += [self.mask[lane].eq(possible[lane]) for lane in lanes]

        narrowed: list[tuple[Value, Value]] = list(zip(possible, sure, strict=True))
        for phase in range(self.bits_per_cycle):
            ones: list[Value] = []
            for lane, (may_be, will_be) in enumerate(narrowed):
                choices = self._choices(m, lane, phase, now)
                one = will_be | all_of([*choices, may_be])
                ones.append(named(m, f"one{lane}_{phase}", one))
            few = named(m, f"few{phase}", ~_at_least(m, f"enough{phase}", ones, self.n))
            narrowed = [
                (
                    named(m, f"possible{lane}_{phase}", one | (may_be & few)),
                    named(m, f"sure{lane}_{phase}", one & (will_be | few)),
                )
                for lane, (one, (may_be, will_be)) in enumerate(zip(ones, narrowed, strict=True))
            ]
        for lane, (may_be, will_be) in enumerate(narrowed):
            m.d.sync += [possible[lane].eq(may_be | restart), sure[lane].eq(will_be & ~restart)]
        return m

    def _count_cycles(self, m: Module, restart: Value) -> list[Value]:
        """Drive ``done``; the result says for each cycle whether it is this one.

        The counter runs on when all is done.
        """
        width = (self.cycles - 1).bit_length()
        digits = [Signal(name=f"cycle{place}", reset_less=True) for place in range(width)]
        for place, digit in enumerate(digits):
            carry = reduce(and_, digits[:place], Const(1, 1))
            m.d.sync += digit.eq((digit ^ carry) & ~restart)
        now: list[Value] = []
        for number in range(self.cycles):
            match = [d if number >> place & 1 else ~d for place, d in enumerate(digits)]
            # In two halves, which numbers share.
            halves = [half for half in (match[: width // 2], match[width // 2 :]) if half]
            both = all_of([reduce(and_, half) for half in halves] or [Const(1, 1)])
            now.append(named(m, f"now{number}", both))
        over = Signal(reset_less=True)
        m.d.sync += over.eq((over | now[-1]) & ~restart)
        m.d.comb += self.done.eq(over)
        return now

    def _choices(self, m: Module, lane: int, phase: int, now: Sequence[Value]) -> list[Value]:
        """All 1 unless the bit that the lane has in this phase of the cycle is 0."""
        planes = self.key_width + (self.m - 1).bit_length()
        start = lane * self.key_width
        choices: list[Value] = []
        zeros: list[Value] = []
        for plane in range(planes):
            # What is missing to full cycles is missing in the first one: bits that are 1.
            place = plane + self.cycles * self.bits_per_cycle - planes
            cycle, its_phase = divmod(place, self.bits_per_cycle)
            if its_phase != phase:
                continue
            if plane < self.key_width:
                bit = named(m, f"key{lane}_{plane}", self.keys[start + self.key_width - 1 - plane])
                choices.append(bit | ~now[cycle])
            elif lane >> (planes - 1 - plane) & 1:
                zeros.append(~now[cycle])
        if zeros:
            choices.append(named(m, f"index{lane}_{phase}", reduce(and_, zeros)))
        return choices


def _at_least(m: Module, name: str, bits: Sequence[Value], threshold: int) -> Value:
    """Whether `threshold` or more of some bits are 1.

    Up to 16 bits are sorted, in two halves: `threshold` are 1 iff for some i at least i of one half
    and `threshold` - i of the other are.
    """
    if len(bits) > 16:
        return at_least(m, name, bits, threshold)
    middle = (len(bits) + 1) // 2
    first = sort_bits(m, f"{name}_a", bits[:middle])
    second = sort_bits(m, f"{name}_b", bits[middle:])
    ways = []
    for i in range(max(0, threshold - len(second)), min(threshold, len(first)) + 1):
        # At least none are always there.
        both = [*first[i - 1 : i], *second[threshold - i - 1 : threshold - i]]
        ways.append(all_of(both))
    return named(m, name, any_of(ways))
