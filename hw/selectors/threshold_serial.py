"""Threshold search, one bit of all keys a cycle: the smallest selector."""

from collections.abc import Sequence
from itertools import combinations

from amaranth.hdl import Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import named
from hw.selectors.threshold_search import all_of, at_least

__all__ = ["ThresholdSerial"]


class ThresholdSerial(wiring.Component):
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
        planes = self.key_width + (self.m - 1).bit_length()
        return -(-planes // self.bits_per_cycle)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        restart = named(m, "restart", ResetSignal() | self.release | ~self.run)
        selected, done = _sequence(m, self.cycles, restart)
        m.d.comb += self.done.eq(done)
        possible = [
            Signal(name=f"possible{lane}", init=1, reset_less=True) for lane in range(self.m)
        ]
        sure = [Signal(name=f"sure{lane}", reset_less=True) for lane in range(self.m)]
        next_possible: list[Value] = list(possible)
        next_sure: list[Value] = list(sure)
        for phase in range(self.bits_per_cycle):
            one = []
            for lane in range(self.m):
                bit = named(
                    m, f"bit{lane}_{phase}", all_of(self._choices(m, lane, phase, selected))
                )
                one.append(
                    named(m, f"one{lane}_{phase}", next_sure[lane] | (next_possible[lane] & bit))
                )
            enough = at_least(m, f"enough{phase}", one, self.n)
            few = named(m, f"few{phase}", ~enough)
            for lane in range(self.m):
                u, l, y = next_possible[lane], next_sure[lane], one[lane]
                next_possible[lane] = y | (u & few)
                next_sure[lane] = y & (l | few)
        for lane in range(self.m):
            m.d.sync += possible[lane].eq(next_possible[lane] | restart)
            m.d.sync += sure[lane].eq(next_sure[lane] & ~restart)
            m.d.comb += self.mask[lane].eq(possible[lane])
        return m

    def _choices(self, m: Module, lane: int, phase: int, selected: Sequence[Value]) -> list[Value]:
        """All are 1 unless a 0 is the lane's bit of the plane of this phase of the cycle."""
        index_width = (self.m - 1).bit_length()
        planes = self.key_width + index_width
        key = self.keys[lane * self.key_width : (lane + 1) * self.key_width]
        choices = []
        zeros = []
        for place in range(planes):
            # Counted from the end, since a first cycle may be incomplete.
            cycle, its_phase = divmod(
                place + self.cycles * self.bits_per_cycle - planes, self.bits_per_cycle
            )
            if its_phase != phase:
                continue
            if place < self.key_width:
                bit = named(m, f"key{lane}_{place}", key[self.key_width - 1 - place])
                choices.append(bit | ~selected[cycle])
            elif lane >> (planes - 1 - place) & 1:
                zeros.append(~selected[cycle])
        if zeros:
            choices.append(named(m, f"index{lane}_{phase}", all_of(zeros)))
        return choices or [Const(1, 1)]


#: Taps of the shortest shift registers of maximal period.
_TAPS = {2: 1, 3: 2, 4: 3, 5: 3, 6: 5, 7: 6}


def _sequence(m: Module, cycles: int, restart: Value) -> tuple[list[Value], Value]:
    """One-hot number of the cycle, and whether all are over."""
    width = max(2, cycles.bit_length())
    tap = _TAPS[width]
    end = (1,) * width
    states = [(0,) + (1,) * (width - 1)]
    while states[-1] != (1,) * (width - 1) + (0,):
        state = states[-1]
        states.append((int(state[-1] == state[tap - 1]), *state[:-1]))
    states = [*states[-cycles:], end]
    bits = [Signal(name=f"step{k}", init=states[0][k], reset_less=True) for k in range(width)]
    hot = []
    for number, state in enumerate(states):
        others = states[:number] + states[number + 1 :]
        places = next(
            places
            for size in range(1, width + 1)
            for places in combinations(range(width), size)
            if all(any(other[k] != state[k] for k in places) for other in others)
        )
        literals = [bits[k] if state[k] else ~bits[k] for k in places]
        hot.append(named(m, f"is_step{number}", all_of(literals)))
    feedback = named(m, "feedback", ~(bits[-1] ^ bits[tap - 1]) | hot[-2])
    for k, following in enumerate([feedback, *bits[:-1]]):
        m.d.sync += bits[k].eq((following | restart) if states[0][k] else (following & ~restart))
    return hot[:-1], hot[-1]
