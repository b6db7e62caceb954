"""Quotients and square roots, some bits of them in a cycle."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from hw.logic import named

__all__ = ["Recurrence"]


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """Digit recurrence of quotients and square roots, with restoring.

    The result is found bit by bit, from 2**0 down.  With Q what is found of it so far, p the place
    of the next bit, and a remainder R that is the dividend or the radicand at first, a bit takes ::

        trial = divisor, or for a root 2 Q + p
        bit = R >= trial
        R = 2 (R - bit * trial)

    The result is exact if, and only if, R is 0 at the end.  A quotient of numbers from 1 to below 2
    is between 1/2 and 2, the root of a number from 1 to below 4 between 1 and 2.

    A register holds the trial of the next bit: the divisor as it is, or ``2 Q + p``, which is 1 at
    first and grows with the root.

    Parameters
    ----------
    width
        Bits of an operand, the highest one 2**0.
    cycles
        Cycles of a quotient or root.
    bits_per_cycle
        Bits of it that each of them finds.
    """

    width: int
    cycles: int
    bits_per_cycle: int

    @property
    def result_width(self) -> int:
        """Bits of a result."""
        return self.cycles * self.bits_per_cycle

    @property
    def register_width(self) -> int:
        """Bits of remainder and trial, which are below 8 and have the result's lowest place."""
        return self.result_width + 2

    @property
    def one(self) -> int:
        """1 as a remainder or a trial."""
        return 1 << (self.result_width - 1)

    def operand(self, number: Value) -> Value:
        """An operand, of `width` bits or one more on top, as a remainder or a trial."""
        low = self.result_width - self.width
        return Cat(Const(0, low), number, Const(0, self.register_width - low - len(number)))

    def cycle(
        self, m: Module, name: str, *, remainder: Value, trial: Value, place: Value
    ) -> tuple[Value, Value, Value]:
        """Remainder and trial after one more cycle, and the bits that it finds.

        Parameters
        ----------
        m
            Takes the logic.
        name
            Prefix of its wires.
        remainder, trial
            Before it.
        place
            Of a root, which of its cycles it is, one bit for each, the first one highest; of a
            quotient 0.
        """
        count, width = self.bits_per_cycle, self.register_width
        # Place of each bit that the cycle finds, and of the one after.
        first = Cat(*(Cat(Const(0, count - 1), one) for one in place), Const(0, width))
        places = [first[number : number + width] for number in range(count + 1)]
        bits: list[Value] = []
        for number in range(count):
            difference = Signal(width + 1, name=f"{name}_difference{number}")
            m.d.comb += difference.eq(remainder - trial)
            bit = named(m, f"{name}_bit{number}", ~difference[-1])
            bits.insert(0, bit)
            rest = Mux(bit, difference[:-1], remainder)
            remainder = named(m, f"{name}_remainder{number}", Cat(Const(0, 1), rest[:-1]))
            # In 2 Q the bit has twice its place.
            doubled = Cat(Const(0, 1), places[number][:-1]) & bit.replicate(width)
            following = (trial & ~places[number]) | doubled | places[number + 1]
            trial = named(m, f"{name}_trial{number}", following)
        return remainder, trial, Cat(bits)
