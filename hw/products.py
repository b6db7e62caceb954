"""Products of integers as bits of different weights, to be added with others."""

from dataclasses import dataclass, field

from amaranth.hdl import Cat, Const, Module, Value

from hw.logic import named

__all__ = ["SignedProduct"]


@dataclass(frozen=True)
class SignedProduct:
    """``first * second`` of two's complement numbers: ``sum of bit_t * 2**place_t + constant``.

    Digits -2 .. 2 of base 4 of one number (A. D. Booth, 1951, as modified by O. L. MacSorley, 1961)
    choose among multiples of the other, which makes half as many bits as all pairs of bits are.
    The digits are those of the narrower number, or of the first if they are equally wide.  A
    negative multiple is the complement and a 1 in its lowest place; the complement of a multiple's
    highest bit and a constant stand for its sign.

    Parameters
    ----------
    first_width, second_width
        Bits of the numbers, even.

    Attributes
    ----------
    places
        Place of each term.
    constant
        To be added to the terms.
    """

    first_width: int
    second_width: int
    places: tuple[int, ...] = field(init=False)
    constant: int = field(init=False)

    def __post_init__(self) -> None:
        digits, width = sorted((self.first_width, self.second_width))
        places: list[int] = []
        constant = 0
        for start in range(0, digits, 2):
            places += [*range(start, start + width + 1), start]
            constant -= 1 << (start + width)
        object.__setattr__(self, "places", tuple(places))
        object.__setattr__(self, "constant", constant)

    def terms(self, m: Module, name: str, first: Value, second: Value) -> list[Value]:
        """The terms, in the order of `places`, in words."""
        if self.first_width > self.second_width:
            first, second = second, first
        terms: list[Value] = []
        for start in range(0, len(first), 2):
            prefix = f"{name}_digit{start // 2}"
            below = first[start - 1] if start else Const(0, 1)
            terms += self._multiple(m, prefix, below, first[start : start + 2], second)
        return terms

    @staticmethod
    def _multiple(m: Module, name: str, below: Value, digit: Value, number: Value) -> list[Value]:
        """``(below + digit_0 - 2 digit_1) * number``, and whether it is negative."""
        size = len(number) + 1
        middle, negative = digit[0], digit[1]
        single = below ^ middle
        double = (negative & ~middle & ~below) | (~negative & middle & below)
        chosen = named(
            m,
            f"{name}_magnitude",
            (Cat(number, number[-1]) & single.replicate(size))
            | (Cat(Const(0, 1), number) & double.replicate(size)),
        )
        multiple = chosen ^ Cat(negative.replicate(size - 1), ~negative)
        return [named(m, name, multiple), named(m, f"{name}_negative", negative)]
