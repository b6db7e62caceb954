"""Enumerative code, one lane a cycle: one adder or subtractor, and M cycles."""

from collections.abc import Mapping, Sequence
from math import comb

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from hw.logic import named
from hw.metadata.enumerative import constant_of

__all__ = ["SerialRank", "SerialUnrank"]


class _Serial(wiring.Component):
    """M cycles on what a source holds, one for each lane.

    Members beside those of the two codes' directions:

    run : In(1)
        There is an input; stays until the edge with ``release``.  While it is 0, and in reset,
        everything is at its start.
    release : In(1)
        The result is taken at this edge: back to the start.
    done : Out(1)
        The result is valid; stays until ``release``.
    """

    def __init__(self, *, n: int, m: int, members: Mapping[str, Member]) -> None:
        self.n = n
        self.m = m
        super().__init__({"run": In(1), "release": In(1), "done": Out(1), **members})

    @property
    def cycles(self) -> int:
        """Cycles from the first with ``run`` to the first with ``done``."""
        return self.m

    def _count(self, m: Module) -> tuple[Value, list[Value]]:
        """Drive ``done``; whether to go back to the start, and for each cycle whether it is now."""
        restart = named(m, "restart", ResetSignal() | self.release | ~self.run)
        cycle = Signal(range(self.m), reset_less=True)
        over = Signal(reset_less=True)
        now = [named(m, f"now{k}", (cycle == k) & ~over) for k in range(self.m)]
        m.d.sync += [
            cycle.eq(Mux(restart, 0, cycle + 1)),
            over.eq((over | now[-1]) & ~restart),
        ]
        m.d.comb += self.done.eq(over)
        return restart, now

    @staticmethod
    def _binomial(m: Module, now: Sequence[Value], count: Signal, of: Mapping) -> Value:
        """The constant of this cycle and this count: `of` has it by both."""
        counted = {k: named(m, f"count_is{k}", count == k) for k in {k for _, k in of}}
        cases = [(now[cycle] & counted[k], constant) for (cycle, k), constant in of.items()]
        return named(m, "binomial", constant_of(cases))


class SerialRank(_Serial):
    """Rank of a mask: the sum over k of C(c_k, k), a lane a cycle, lane 0 first.

    In the cycle of lane j, with k lanes kept before it, C(j, k + 1) is added if lane j is kept.
    The binomials are N (M - N + 1) and gates and the ors behind them.

    Members
    -------
    mask : In(m)
        Exactly n ones; held while ``run``.
    rank : Out(width)
        In as many bits as the code has.
    """

    def __init__(self, *, n: int, m: int, width: int) -> None:
        super().__init__(n=n, m=m, members={"mask": In(m), "rank": Out(width)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        restart, now = self._count(m)
        count = Signal(range(self.n + 1), reset_less=True)
        rank = Signal.like(self.rank, reset_less=True)
        binomials = {
            (lane, k): comb(lane, k + 1)
            for lane in range(self.m)
            for k in range(max(0, lane - self.m + self.n), min(lane, self.n - 1) + 1)
        }
        binomial = self._binomial(m, now, count, binomials)
        kept = named(m, "kept", (Cat(now) & self.mask).any())
        m.d.sync += [
            count.eq(Mux(restart, 0, count + kept)),
            rank.eq(Mux(restart, 0, rank + Mux(kept, binomial, 0))),
        ]
        m.d.comb += self.rank.eq(rank)
        return m


class SerialUnrank(_Serial):
    """Mask of a rank, a lane a cycle, lane M - 1 first.

    In the cycle of lane j, with k lanes still to be kept, it is one of them iff the rest of the
    rank is at least C(j, k), which is then taken off it.  For a rank of C(M, N) or more something
    is left at the end.

    Members
    -------
    rank : In(width)
        Held while ``run``.
    mask : Out(m)
        All zero where the rank is illegal.
    error : Out(1)
        The rank is C(M, N) or more.
    """

    def __init__(self, *, n: int, m: int, width: int) -> None:
        members = {"rank": In(width), "mask": Out(m), "error": Out(1)}
        super().__init__(n=n, m=m, members=members)

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        restart, now = self._count(m)
        left = Signal(range(self.n + 1), init=self.n, reset_less=True)
        rest = Signal.like(self.rank, reset_less=True)
        mask = Signal(self.m, reset_less=True)
        binomials = {
            (self.m - 1 - lane, k): comb(lane, k)
            for lane in range(self.m)
            for k in range(max(1, lane + 1 - self.m + self.n), min(lane + 1, self.n) + 1)
        }
        binomial = self._binomial(m, now, left, binomials)
        current = named(m, "current", Mux(now[0], self.rank, rest))
        difference = named(m, "difference", current - binomial)
        kept = named(m, "kept", ~difference[-1] & left.any() & ~self.done)
        m.d.sync += [
            left.eq(Mux(restart, self.n, left - kept)),
            rest.eq(Mux(kept, difference, current)),
        ]
        with m.If(~self.done):
            m.d.sync += mask.eq(Cat(kept, mask))
        error = named(m, "left_over", rest.any())
        m.d.comb += [
            self.error.eq(error),
            self.mask.eq(Mux(error, Const(0, self.m), mask)),
        ]
        return m
