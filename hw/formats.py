"""Number formats and their magnitude keys.

A *magnitude key* is an unsigned integer whose order is the order of magnitudes: the absolute value
of an integer, the bits below the sign of a floating-point number.  NaN ranks above infinity and
infinity above every finite value; both zeros have key 0.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["FORMATS", "FP32", "INTEGER_FORMATS", "NumberFormat", "formats_of"]


@dataclass(frozen=True)
class NumberFormat:
    """A number format of activations or weights.

    Parameters
    ----------
    name
        The name used on the command line and in file names.
    width
        Bits of one number.
    kind
        ``int``: two's complement.  ``float``: sign, biased exponent, mantissa.
    exponent_width
        Bits of the exponent field; 0 for integers.
    """

    name: str
    width: int
    kind: Literal["int", "float"]
    exponent_width: int = 0

    @property
    def key_width(self) -> int:
        """Bits of the magnitude key.

        An integer key has as many bits as the format, so that the magnitude of the most negative
        value is exact; a float key has all bits but the sign.
        """
        return self.width if self.kind == "int" else self.width - 1

    @property
    def mantissa_width(self) -> int:
        """Bits of the mantissa field; 0 for integers."""
        return self.width - 1 - self.exponent_width if self.kind == "float" else 0

    @property
    def has_infinity(self) -> bool:
        """Whether the largest exponent field means infinity and NaN, as IEEE 754 has it."""
        return self.kind == "float" and self.name != "fp8_e4m3"

    @property
    def significand_width(self) -> int:
        """Bits of s, where a finite magnitude is s * 2**x in units of the smallest one above 0."""
        return self.width if self.kind == "int" else self.mantissa_width + 1

    @property
    def largest_exponent(self) -> int:
        """The largest x, where a finite magnitude is s * 2**x; 0 for integers."""
        if self.kind == "int":
            return 0
        return (1 << self.exponent_width) - (3 if self.has_infinity else 2)

    @property
    def bias(self) -> int:
        """Exponent field of 1; 0 for integers."""
        return (1 << (self.exponent_width - 1)) - 1 if self.kind == "float" else 0

    @property
    def smallest_exponent(self) -> int:
        """log2 of the smallest magnitude above 0; 0 for integers."""
        return 1 - self.bias - self.mantissa_width if self.kind == "float" else 0

    @property
    def overflow_key(self) -> int:
        """Key of what is larger than every finite float: infinity, or NaN where there is none."""
        if not self.has_infinity:
            return (1 << self.key_width) - 1
        return ((1 << self.exponent_width) - 1) << self.mantissa_width

    @property
    def quiet_nan(self) -> int:
        """The canonical NaN of a float format: +, quiet, no payload."""
        return self.overflow_key | 1 << (self.mantissa_width - 1)

    def check_float(self) -> None:
        """Raise ValueError if this is no format of floating-point numbers."""
        if self.kind != "float":
            raise ValueError(f"number format must be a float format, not {self.name}")


#: All number formats by name.  fp8_e4m3 is the OCP format: no infinity, S.1111.111 is NaN.
FORMATS: dict[str, NumberFormat] = {
    number_format.name: number_format
    for number_format in (
        NumberFormat("int4", 4, "int"),
        NumberFormat("int8", 8, "int"),
        NumberFormat("int16", 16, "int"),
        NumberFormat("fp16", 16, "float", exponent_width=5),
        NumberFormat("bf16", 16, "float", exponent_width=8),
        NumberFormat("fp8_e4m3", 8, "float", exponent_width=4),
        NumberFormat("fp8_e5m2", 8, "float", exponent_width=5),
    )
}

#: IEEE 754 binary32, the format of sums and scales; no format of activations.
FP32 = NumberFormat("fp32", 32, "float", exponent_width=8)


def formats_of(kind: str) -> tuple[str, ...]:
    """Names of the formats of a kind, ``int`` or ``float``."""
    return tuple(name for name, one in FORMATS.items() if one.kind == kind)


#: Names of the two's complement formats.
INTEGER_FORMATS = formats_of("int")
