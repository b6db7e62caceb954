"""Formats of scales and of scores.

A score says how important a lane is: its magnitude, or the exact product of its magnitude with an
unsigned scale of the lane.  What hardware compares is an unsigned integer in the order of scores:

- without a scale the magnitude key (`hw.formats`);
- of integers with a fixed-point or power-of-two scale the product of key and scale;
- of everything else the code ``{class, e, f}``, class highest.  ``class`` is 0 for finite numbers,
  1 for infinity, 2 for NaN; integers have none.  ``e`` is the bit length of the product in units
  of the smallest product of two subnormals, 0 if it is zero; ``f`` the bits after its leading one,
  left-aligned.  Both are 0 in classes 1 and 2: infinities tie, and NaNs tie.
"""

import re
from dataclasses import dataclass
from typing import Literal

from hw.formats import NumberFormat

__all__ = ["SCALE_FORMATS", "ScaleFormat", "ScoreFormat", "scale_format_of"]


@dataclass(frozen=True)
class ScaleFormat:
    """A format of unsigned scales.

    Parameters
    ----------
    name
        The name used on the command line.
    width
        Bits of one scale.
    kind
        ``fixed``: an integer; where its binary point is does not matter, since all lanes share it.
        ``power``: the scale is 2**code.  ``float``: 8 exponent and 7 mantissa bits, the bits of a
        bf16 without its sign, subnormals included; exponent 255 is an ordinary exponent.
    """

    name: str
    width: int
    kind: Literal["fixed", "power", "float"]

    #: Bits of the mantissa field of the kind ``float``.
    MANTISSA_WIDTH = 7

    @property
    def significand_width(self) -> int:
        """Bits of s, where a scale is s * 2**x."""
        return {"fixed": self.width, "power": 1, "float": self.MANTISSA_WIDTH + 1}[self.kind]

    @property
    def largest_exponent(self) -> int:
        """The largest x, where a scale is s * 2**x in units of the smallest scale above 0."""
        if self.kind == "float":
            return (1 << (self.width - self.MANTISSA_WIDTH)) - 2
        return (1 << self.width) - 1 if self.kind == "power" else 0


#: Bits of a power of two: scales 1 to 2**15.
_POWER_WIDTH = 4

_MAX_FIXED_WIDTH = 32

#: How the scale formats are written.
SCALE_FORMATS = ("u1 to u32", "pow2", "bf16")


def scale_format_of(name: str) -> ScaleFormat | None:
    """The format of that name, ``u<bits>``, ``pow2`` or ``bf16``; None if there is none."""
    if name == "pow2":
        return ScaleFormat(name, _POWER_WIDTH, "power")
    if name == "bf16":
        return ScaleFormat(name, 15, "float")
    match = re.fullmatch(r"u([1-9][0-9]?)", name)
    if match is None or int(match[1]) > _MAX_FIXED_WIDTH:
        return None
    return ScaleFormat(name, int(match[1]), "fixed")


@dataclass(frozen=True)
class ScoreFormat:
    """What the scores of a number format are.

    Parameters
    ----------
    number
        Format of the activations.
    scale
        Format of the scales; None: there are none.
    """

    number: NumberFormat
    scale: ScaleFormat | None

    @property
    def kind(self) -> Literal["key", "integer", "code"]:
        """Magnitude key, product of integers, or ``{class, e, f}``."""
        if self.scale is None:
            return "key"
        is_integer = self.number.kind == "int" and self.scale.kind != "float"
        return "integer" if is_integer else "code"

    @property
    def class_width(self) -> int:
        """Bits of ``class``."""
        return 2 if self.kind == "code" and self.number.kind == "float" else 0

    @property
    def _significands(self) -> int:
        """Bit length of the largest product of two significands."""
        scale_width = self.scale.significand_width if self.scale else 1
        return (((1 << self.number.significand_width) - 1) * ((1 << scale_width) - 1)).bit_length()

    @property
    def largest_e(self) -> int:
        """The largest ``e``: bit length of the largest product."""
        shifts = self.scale.largest_exponent if self.scale else 0
        return self._significands + self.number.largest_exponent + shifts

    @property
    def e_width(self) -> int:
        """Bits of ``e``."""
        return self.largest_e.bit_length()

    @property
    def f_width(self) -> int:
        """Bits of ``f``."""
        return self._significands - 1

    @property
    def width(self) -> int:
        """Bits of a whole score."""
        if self.kind == "key":
            return self.number.key_width
        if self.kind == "integer":
            return self.largest_e
        return self.class_width + self.e_width + self.f_width
