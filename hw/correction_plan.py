"""In which cycle a correction unit does what.

Four parts work side by side, on numbers in registers:

- the *normalizer* takes an input, or a difference, and shifts it up until its highest bit is 1;
- the *rounding* makes a number of what the normalizer, the multiplier or the divider left;
- the *multiplier* multiplies a factor with a digit of the other one in a cycle;
- the *divider* finds some bits of a quotient, or of a root, in a cycle.

Each takes a number of cycles that is known beforehand, so that nothing has to ask or to wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from hw.formats import FP32
from hw.parameters import FEATURES_WIDTH

__all__ = ["PLAN", "CorrectionPlan"]

_SIGNIFICAND_WIDTH = FP32.significand_width

#: Bits of a quotient: a significand, the next bit, and another one where the quotient is below 1.
_QUOTIENT_WIDTH = _SIGNIFICAND_WIDTH + 2


@dataclass(frozen=True)
class CorrectionPlan:
    """The cycles of a correction.

    By the names of the registers in `hw.units.correction`, the formulas of `sw.token_correction`
    are computed in this order::

        multiplier and differences                          divider

        count = divisor = C, remainder = S1
        other = S1k * S1k                                   remainder / divisor = S1 / C
        product = count * S2k - other, to divisor
        other = S1 * S1
        product = count * S2 - other, to remainder
        other = the quotient: the mean
        product = (count * (C - 1)) * 1e-9
        divisor = the larger of divisor and product         remainder / divisor, to remainder
                                                            root of the remainder: the ratio

    Parameters
    ----------
    digit_width
        Bits of a digit of the multiplier, from 2 to 24.
    bits_per_cycle
        Bits that the divider finds in a cycle.
    """

    digit_width: int
    bits_per_cycle: int

    @property
    def digits(self) -> int:
        """Digits of a significand."""
        return -(-_SIGNIFICAND_WIDTH // self.digit_width)

    @property
    def count_digits(self) -> int:
        """Digits that hold the number of activations: the highest ones of its significand."""
        return -(-FEATURES_WIDTH // self.digit_width)

    @property
    def division_cycles(self) -> int:
        """Cycles of a quotient or a root."""
        return -(-_QUOTIENT_WIDTH // self.bits_per_cycle)

    @property
    def cycles(self) -> int:
        """Number of the first cycle in which both results are there."""
        return self.controls["root"][0] + 1 + self.division_cycles

    @cached_property
    def controls(self) -> dict[str, tuple[int, ...]]:
        """Cycles, counted from 0, in which each control is 1.

        ``take_``: what the normalizer takes.  ``round_``: what is rounded; without one of them it
        is what the divider left.  ``to_``: the register that gets the rounded number.
        ``multiply_``: by what the factor is multiplied; ``digit_``: by which digit of it;
        ``first``: whether a product begins.  ``subtract_``: of which squares the product comes that
        the other number is taken off.  ``maximum``: the divisor becomes the larger of both.
        ``divide``: the divider begins in the next cycle; ``root``: with a root.
        """
        plan: dict[str, list[int]] = {}

        def at(cycle: int, *names: str) -> None:
            for name in names:
                plan.setdefault(name, []).append(cycle)

        def load(cycle: int, source: str, *registers: str) -> None:
            """Bring an input into registers; they have it in the next cycle."""
            at(cycle - 1, f"take_{source}")
            at(cycle, "round_taken", *(f"to_{register}" for register in registers))

        def multiply(start: int, other: str, digits: Iterable[int]) -> None:
            at(start, "first")
            for cycle, digit in enumerate(digits, start):
                at(cycle, f"multiply_{other}", f"digit_{digit}")

        def subtract(cycle: int, squares: str, register: str) -> None:
            """Take the other number off the product, which is complete in this cycle."""
            at(cycle, "round_product", "to_product")
            at(cycle + 1, f"subtract_{squares}")
            load(cycle + 3, "product", register)

        every = range(self.digits)
        highest = every[-self.count_digits :]

        load(1, "features", "count", "divisor")
        load(2, "sum", "remainder")
        at(2, "divide")
        load(3, "kept_sum", "factor")
        multiply(4, "factor", every)
        # The first difference takes the divisor's place in the last cycle of the first quotient.
        kept_product = max(4 + len(every), self.division_cycles - 1 - len(highest))
        load(kept_product - 1, "kept_squares", "factor")
        at(kept_product, "round_product", "to_other")
        multiply(kept_product, "count", highest)
        kept_end = kept_product + len(highest)
        subtract(kept_end, "kept_squares", "divisor")

        # The normalizer takes the difference while the next product begins.
        square = kept_end + 2
        load(square - 1, "sum", "factor")
        multiply(square, "factor", every)
        product = max(square + len(every), kept_end + 5)
        load(product - 1, "squares", "factor")
        at(product, "round_product", "to_other")
        multiply(product, "count", highest)
        end = product + len(highest)
        subtract(end, "squares", "remainder")
        at(end + 2, "to_other")

        pairs = end + 2
        load(pairs - 1, "others", "factor")
        multiply(pairs, "count", highest)
        pairs_end = max(pairs + len(highest), end + 4)
        at(pairs_end, "round_product", "to_factor")
        multiply(pairs_end + 1, "floor", every)
        floor_end = pairs_end + 1 + len(every)
        at(floor_end, "round_product", "to_product")
        at(floor_end + 1, "maximum", "divide")
        root = floor_end + 2 + self.division_cycles
        at(root, "to_remainder", "divide", "root")
        return {name: tuple(cycles) for name, cycles in plan.items()}


#: The plan of the unit: of those of at most 64 cycles the one with the smallest area.
PLAN = CorrectionPlan(digit_width=6, bits_per_cycle=2)
