"""Dot products of floating-point numbers: aligned sums, rounded once to fp32."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from hw.aligned_sum import AlignedSum, maximum
from hw.config import UnitConfig
from hw.dot_products.common import DotProduct
from hw.floats.lanes import Number, unpack
from hw.logic import any_of, named
from hw.pipeline import Bundle, Step
from hw.ports import Field

__all__ = ["FloatDotProduct"]

#: What is found out about products that are not finite numbers.
_FLAGS = ("nan", "above", "below")


class FloatDotProduct(DotProduct):
    """``sum over the groups of sum_k first_k * second_k`` as `sw.float_dot_product` defines it.

    Products are exact.  The largest of a group says to which place they are all cut; the groups are
    added to an accumulator with an exponent of its own.  A group that is illegal adds nothing,
    neither to the sum nor to its exponent.
    """

    def __init__(self, config: UnitConfig) -> None:
        super().__init__(config)
        self._formats = formats = config.format, config.weight_format
        self._sum = AlignedSum(
            # Of all multipliers, no more than n have work.
            count=min(config.n, config.multiplier_count),
            width=sum(one.significand_width for one in formats),
            largest=sum(one.largest_exponent for one in formats),
            bits=config.resolved_align_bits,
            unit=sum(one.smallest_exponent for one in formats),
        )
        # Infinities and NaNs have the exponents above the largest.
        self._exponent_width = (self._sum.largest + 2).bit_length()

    @property
    def group_fields(self) -> Mapping[str, Field]:
        """The sum of a group, its reference, and whether there are NaN and infinities."""
        return _fields(
            dot=self._sum.sum_width,
            reference=self._sum.reference_width,
            **dict.fromkeys((*_FLAGS, "error", "last"), 1),
        )

    @property
    def result_fields(self) -> Mapping[str, Field]:
        """The accumulator, its reference, and what the result is if it is not finite."""
        return _fields(
            sum_integer=self._sum.sum_width,
            sum_exponent=self._sum.reference_width,
            **dict.fromkeys(("sum_special", "sum_nan", "sum_minus", "error"), 1),
        )

    @property
    def stages_behind(self) -> int:
        """A quarter of those that there are beside the accumulator: the sums are deeper."""
        return (self.config.stages - 1) // 4

    def group_steps(self) -> list[Step]:
        """Multiply; find the largest exponent; align; add."""
        n = self.config.multiplier_count
        kind = self._sum
        widths = {
            "product": n * kind.width,
            "exponent": n * self._exponent_width,
            "negative": n,
            **dict.fromkeys(_FLAGS, 1),
        }
        depth = kind.width // 2
        return [
            Step(self._multiply, widths, ("first", "second"), levels=8 + 3 * depth),
            Step(
                self._compare,
                {"reference": kind.reference_width},
                levels=n.bit_length() * (self._exponent_width + 2),
            ),
            Step(
                self._align,
                {"aligned": n * kind.bits},
                ("product", "exponent"),
                levels=self._exponent_width + 3 * kind.bits.bit_length(),
            ),
            Step(
                self._add,
                {"dot": kind.sum_width},
                ("aligned", "negative"),
                levels=4 * n.bit_length() + 2 * kind.bits.bit_length(),
            ),
        ]

    def _multiply(self, m: Module, bundle: Bundle) -> Bundle:
        """Significands, exponents and signs of the products.

        Where one is no finite number, neither is the sum, and what the others add up to is lost.
        """
        result: Bundle = {name: [] for name in ("product", "exponent", "negative")}
        flags: dict[str, list[Value]] = {name: [] for name in _FLAGS}
        for k, codes in enumerate(zip(bundle["first"], bundle["second"], strict=True)):
            first, second = (
                unpack(m, f"{name}{k}", code, number_format)
                for name, code, number_format in zip(
                    ("first", "second"), codes, self._formats, strict=True
                )
            )
            zeros = [_is_zero(m, f"first{k}", first), _is_zero(m, f"second{k}", second)]
            special = named(m, f"special{k}", first.is_special | second.is_special)
            # A product that is 0 has no say in the exponent.
            counts = named(m, f"counts{k}", ~(zeros[0] | zeros[1]))
            exponent = (_field(first) + _field(second) - 2)[: self._exponent_width]
            negative = named(m, f"negative{k}", first.sign ^ second.sign)
            product = Cat(first.significand) * Cat(second.significand)
            result["product"].append(named(m, f"product{k}", product))
            result["exponent"].append(
                named(m, f"exponent{k}", exponent & counts.replicate(self._exponent_width))
            )
            result["negative"].append(negative)
            undefined = (first.is_special & zeros[1]) | (second.is_special & zeros[0])
            nan = named(m, f"nan{k}", first.is_nan | second.is_nan | undefined)
            # Beside NaN the sign of infinities does not matter.
            for name, flag in zip(
                _FLAGS, (nan, special & ~negative, special & negative), strict=True
            ):
                flags[name].append(flag)
        return result | {name: [named(m, name, any_of(flags[name]))] for name in _FLAGS}

    def _compare(self, m: Module, bundle: Bundle) -> Bundle:
        largest = maximum(m, "largest", bundle["exponent"])
        return {"reference": [self._sum.reference(m, "reference", largest)]}

    def _align(self, m: Module, bundle: Bundle) -> Bundle:
        (reference,) = bundle["reference"]
        pairs = zip(bundle["product"], bundle["exponent"], strict=True)
        return {
            "aligned": [
                self._sum.align(m, f"aligned{k}", product, exponent, reference)
                for k, (product, exponent) in enumerate(pairs)
            ]
        }

    def _add(self, m: Module, bundle: Bundle) -> Bundle:
        return {"dot": [self._sum.add(m, "dot", bundle["aligned"], bundle["negative"])]}

    def accumulate(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> Mapping[str, Sequence[Value]]:
        """The sum of the groups so far, and whether one of them was illegal."""
        legal = named(m, "legal", ~group.error)
        dot = Value.cast(group.dot)
        total, reference = self._sum.accumulate(
            m,
            "sum",
            take=take,
            fresh=fresh,
            added=named(m, "legal_dot", dot & legal.replicate(len(dot))),
            reference=named(
                m,
                "legal_reference",
                Mux(legal, group.reference, self._sum.least)[: self._sum.reference_width],
            ),
        )
        found = {name: group[name] & legal for name in _FLAGS}
        if self.config.check:
            found["error"] = group.error
        seen = {name: Signal(name=f"any_{name}", reset_less=True) for name in found}
        with m.If(take):
            m.d.sync += [flag.eq(found[name] | (flag & ~fresh)) for name, flag in seen.items()]
        nan = seen["nan"] | (seen["above"] & seen["below"])
        return {
            "sum_integer": [total],
            "sum_exponent": [reference],
            "sum_special": [nan | seen["above"] | seen["below"]],
            "sum_nan": [nan],
            "sum_minus": [seen["below"]],
            "error": [seen.get("error", Const(0, 1))],
        }

    def result_steps(self) -> list[Step]:
        """Round to fp32."""
        return self._sum.steps("sum", 1)


def _fields(**widths: int) -> dict[str, Field]:
    return {name: Field(name, 1, width, "unsigned") for name, width in widths.items()}


def _is_zero(m: Module, name: str, number: Number) -> Value:
    return named(m, f"{name}_is_zero", ~(number.is_normal | number.mantissa.any()))


def _field(number: Number) -> Value:
    """The exponent field, 1 where it is 0: a subnormal has the place of the smallest normals."""
    return Cat(number.exponent[0] | ~number.is_normal, number.exponent[1:])
