"""Products of integers as bits of different weights, to be added with others."""

from dataclasses import dataclass, field

from amaranth.hdl import Cat, Const, Module, Value

from hw.logic import named

__all__ = ["SignedProduct", "digits_of"]

#: Bits of a digit: whether its magnitude is 1, whether it is 2, and whether it is negative.
_DIGIT_WIDTH = 3


def digits_of(m: Module, name: str, number: Value) -> Value:
    """Digits -2 .. 2 of base 4 of a two's complement number, the lowest first.

    Digit k is ``b(2k - 1) + b(2k) - 2 b(2k + 1)``.  It has three bits: whether its magnitude is 1,
    whether it is 2, and b(2k + 1); -0 occurs.

    Parameters
    ----------
    m
        The module.
    name
        What signals are called after.
    number
        Of an even number of bits.
    """
    digits: list[Value] = []
    for start in range(0, len(number), 2):
        below = number[start - 1] if start else Const(0, 1)
        middle, negative = number[start], number[start + 1]
        double = (negative & ~middle & ~below) | (~negative & middle & below)
        digits += [below ^ middle, double, negative]
    return named(m, f"{name}_digits", Cat(digits))


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

    @property
    def has_first_digits(self) -> bool:
        """Whether the digits are those of the first number."""
        return self.first_width <= self.second_width

    @property
    def digits_width(self) -> int:
        """Bits of all digits of a number."""
        return min(self.first_width, self.second_width) // 2 * _DIGIT_WIDTH

    def terms(self, m: Module, name: str, first: Value, second: Value) -> list[Value]:
        """The terms, in the order of `places`, in words."""
        if not self.has_first_digits:
            first, second = second, first
        return self.terms_of_digits(m, name, digits_of(m, name, first), second)

    def terms_of_digits(self, m: Module, name: str, digits: Value, other: Value) -> list[Value]:
        """The same of the `digits_of` one number, and the other one."""
        terms: list[Value] = []
        for place in range(len(digits) // _DIGIT_WIDTH):
            digit = digits.word_select(place, _DIGIT_WIDTH)
            terms += self._multiple(m, f"{name}_digit{place}", digit, other)
        return terms

    @staticmethod
    def _multiple(m: Module, name: str, digit: Value, number: Value) -> list[Value]:
        """``digit * number``, and whether it is negative."""
        size = len(number) + 1
        single, double, negative = digit
        chosen = named(
            m,
            f"{name}_magnitude",
            (Cat(number, number[-1]) & single.replicate(size))
            | (Cat(Const(0, 1), number) & double.replicate(size)),
        )
        multiple = chosen ^ Cat(negative.replicate(size - 1), ~negative)
        return [named(m, name, multiple), named(m, f"{name}_negative", negative)]
