"""Dot products of integers: exact, and modulo the accumulator or limited to it."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data

from hw.dot_products.common import DotProduct
from hw.logic import named
from hw.pipeline import Bundle, Step
from hw.ports import Field, output_payload

__all__ = ["IntegerDotProduct"]


def add_tree(values: Sequence[Value]) -> Value:
    """Sum of signed values as a balanced tree, wide enough to be exact."""
    values = list(values)
    while len(values) > 1:
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


class IntegerDotProduct(DotProduct):
    """``sum over the groups of sum_k first_k * second_k``; an illegal group counts 0.

    The next reduction starts from 0 and without error, as does the first after reset.  ``wrap``
    counts modulo 2**acc_width, ``saturate`` limits the sum to its range after each group.  The
    accumulator is the last register stage.
    """

    @property
    def group_fields(self) -> Mapping[str, Field]:
        """The exact sum of a group."""
        flags = {name: Field(name, 1, 1, "bit") for name in ("error", "last")}
        return {"dot": Field("dot", 1, self._dot_width, "signed"), **flags}

    @property
    def result_fields(self) -> Mapping[str, Field]:
        """The result itself."""
        return output_payload(self.config)

    @property
    def stages_behind(self) -> int:
        """None: the accumulator is the output."""
        return 0

    @property
    def _product_width(self) -> int:
        return self.config.format.width + self.config.weight_format.width

    @property
    def _dot_width(self) -> int:
        return self._product_width + (self.config.n - 1).bit_length()

    def group_steps(self) -> list[Step]:
        """Multiply; add."""
        n = self.config.n

        def multiply(m: Module, bundle: Bundle) -> Bundle:
            pairs = zip(bundle["first"], bundle["second"], strict=True)
            return {
                "products": [
                    named(m, f"product{k}", first.as_signed() * second.as_signed())
                    for k, (first, second) in enumerate(pairs)
                ]
            }

        def add(m: Module, bundle: Bundle) -> Bundle:
            terms = [product.as_signed() for product in bundle["products"]]
            return {"dot": [named(m, "dot", add_tree(terms))]}

        return [
            Step(
                multiply,
                {"products": n * self._product_width},
                ("first", "second"),
                levels=6 * self.config.format.width // 2,
            ),
            Step(add, {"dot": self._dot_width}, ("products",), levels=8 + 2 * n.bit_length()),
        ]

    def accumulate(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> Mapping[str, Sequence[Value]]:
        """The sum of the groups so far, and whether one of them was illegal."""
        width = self.config.acc_width
        total = Signal(signed(width), reset_less=True)
        error = Signal(reset_less=True)
        before = Mux(fresh, 0, total)
        after = Signal(signed(max(width, len(group.dot)) + 1))
        m.d.comb += after.eq(before + group.dot.as_signed())
        # An illegal group leaves the sum as it is, or starts it at 0.  The gates for this stand
        # behind the adder: with gates in front of it abc's search for equal nodes did not end in
        # minutes at 8:16, presumably because nearly all random patterns are illegal codes and
        # make everything behind the gates look constant.
        with m.If(take & (fresh | ~group.error)):
            m.d.sync += total.eq(Mux(group.error, 0, self._limited(after)))
        with m.If(take):
            # Without the check the flag is a constant, and no register is left of it.
            m.d.sync += error.eq((group.error | (error & ~fresh)) if self.config.check else 0)
        return {"sum": [total], "error": [error]}

    def _limited(self, value: Value) -> Value:
        """Truncate or saturate to the accumulator's width."""
        width = self.config.acc_width
        if self.config.overflow == "wrap":
            return value[:width]
        above = value[width - 1 :]
        limit = Cat(~value[-1].replicate(width - 1), value[-1])
        return Mux(above.any() & ~above.all(), limit, value[:width])

    def result_steps(self) -> list[Step]:
        """None."""
        return []
