"""Floating-point sums aligned to a common exponent: groups of terms, and an accumulator.

The function is that of `sw.aligned_sum`.  Of an exponent e hardware knows the *reference*,
``e + bits - width``: the exponent of the largest term that still fits.  It is never less than
``floor + bits - width``, where the last place is ``2**floor``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from hw.comparators import majority_not_less
from hw.floats.scaled import scaled_to_float_steps
from hw.formats import FP32
from hw.logic import named
from hw.parameters import SUM_PLACE
from hw.pipeline import Step

__all__ = ["AlignedSum", "maximum"]


def maximum(m: Module, name: str, numbers: Sequence[Value]) -> Value:
    """The largest of equally wide unsigned numbers, by a tree of comparators."""
    numbers = list(numbers)
    level = 0
    while len(numbers) > 1:
        following = []
        for k in range(0, len(numbers) - 1, 2):
            first, second = numbers[k : k + 2]
            prefix = f"{name}_level{level}_{k // 2}"
            is_first = majority_not_less(m, f"{prefix}_not_less", first, second)
            following.append(named(m, prefix, Mux(is_first, first, second)))
        numbers = following + numbers[len(numbers) - len(numbers) % 2 :]
        level += 1
    return numbers[0]


@dataclass(frozen=True, kw_only=True)
class AlignedSum:
    """How terms are added.

    Parameters
    ----------
    count
        Terms of a group.
    width
        Bits of a significand.
    largest
        The largest exponent of a term.
    bits
        Bits that hold the largest term.
    unit
        log2 of what an integer of exponent 0 is worth.
    """

    count: int
    width: int
    largest: int
    bits: int
    unit: int

    @property
    def floor(self) -> int:
        """The least exponent of a sum: nothing below ``2**SUM_PLACE`` is held."""
        return max(SUM_PLACE - self.unit, 0)

    @property
    def least(self) -> int:
        """The least reference."""
        return self.floor + self.bits - self.width

    @property
    def reference_width(self) -> int:
        """Bits of a reference; each halving adds one to it, fewer than 64 in 2**64 groups."""
        return (max(self.largest, self.least) + 64).bit_length()

    def steps(self, result: str, count: int) -> list[Step]:
        """Steps from sums and their references to codes of fp32, see `scaled_to_float_steps`."""
        return scaled_to_float_steps(
            FP32,
            widths=(self.sum_width, self.reference_width),
            unit=self.unit - (self.bits - self.width),
            least=self.least,
            result=result,
            count=count,
        )

    @property
    def sum_width(self) -> int:
        """Bits of the sum of a group, and of the accumulator."""
        return self.bits + (self.count - 1).bit_length() + 1

    def reference(self, m: Module, name: str, largest: Value) -> Value:
        """Reference of a group whose largest exponent of a term is known."""
        is_less = largest < self.least
        return named(m, name, Mux(is_less, self.least, largest)[: self.reference_width])

    def align(
        self, m: Module, name: str, significand: Value, exponent: Value, reference: Value
    ) -> Value:
        """``significand * 2**(exponent - e)``, cut to an integer: `bits` bits.

        The exponent must not be above the reference, but for a term of 0.
        """
        distance = named(m, f"{name}_distance", (reference - exponent)[: self.reference_width])
        stages = self.bits.bit_length()
        is_near = named(m, f"{name}_is_near", ~distance[stages:].any())
        gated = named(m, f"{name}_gated", significand & is_near.replicate(self.width))
        number: Value = Cat(Const(0, self.bits - self.width), gated)
        for stage in reversed(range(stages)):
            places = min(1 << stage, self.bits)
            shifted = Cat(number[places:], Const(0, places))
            number = named(m, f"{name}_by{1 << stage}", Mux(distance[stage], shifted, number))
        return number

    def add(self, m: Module, name: str, terms: Sequence[Value], negative: Sequence[Value]) -> Value:
        """Sum of aligned terms with signs."""
        # The complement of a term, and one for each that is negative.
        numbers: list[Value] = [
            named(
                m,
                f"{name}_term{k}",
                (Cat(term, Const(0, 1)) ^ minus.replicate(len(term) + 1)).as_signed(),
            )
            for k, (term, minus) in enumerate(zip(terms, negative, strict=True))
        ]
        numbers += [Cat(minus, Const(0, 1)).as_signed() for minus in negative]
        while len(numbers) > 1:
            numbers = [
                numbers[k] + numbers[k + 1] if k + 1 < len(numbers) else numbers[k]
                for k in range(0, len(numbers), 2)
            ]
        total = Signal(signed(self.sum_width), name=name)
        m.d.comb += total.eq(numbers[0])
        return total

    def accumulate(
        self,
        m: Module,
        name: str,
        *,
        take: Value,
        fresh: Value,
        added: Value,
        reference: Value,
    ) -> tuple[Signal, Signal]:
        """Registers with the sum of groups and its reference.

        Parameters
        ----------
        m
            Takes the logic.
        name
            Prefix of its wires.
        take
            Whether a group is there.
        fresh
            Whether it is the first one of its sum.
        added, reference
            The group's sum, as bits, and its reference.
        """
        width = self.sum_width
        total = Signal(width, name=f"{name}_total", reset_less=True)
        held = Signal(self.reference_width, name=f"{name}_reference", reset_less=True)
        before = named(m, f"{name}_before", total & (~fresh).replicate(width))
        place = named(m, f"{name}_place", Mux(fresh, self.least, held)[: self.reference_width])
        is_above = majority_not_less(m, f"{name}_not_less", place, reference)
        high = named(m, f"{name}_high", Mux(is_above, before, added))
        low = named(m, f"{name}_low", Mux(is_above, added, before))
        common = named(m, f"{name}_common", Mux(is_above, place, reference))
        distance = named(
            m,
            f"{name}_distance",
            Mux(is_above, place - reference, reference - place)[: self.reference_width],
        )
        stages = width.bit_length()
        is_far = named(m, f"{name}_is_far", distance[stages:].any())
        number: Value = low
        for stage in reversed(range(stages)):
            places = min(1 << stage, width - 1)
            shifted = Cat(number[places:], number[-1].replicate(places))
            moves = named(m, f"{name}_moves{stage}", distance[stage] | is_far)
            number = named(m, f"{name}_by{1 << stage}", Mux(moves, shifted, number))
        result = Signal(signed(width + 1), name=f"{name}_sum")
        m.d.comb += result.eq(high.as_signed() + number.as_signed())
        overflows = named(m, f"{name}_overflows", result[-1] ^ result[-2])
        with m.If(take):
            m.d.sync += [
                total.eq(Mux(overflows, result[1:], result[:width])),
                held.eq(common + overflows),
            ]
        return total, held
