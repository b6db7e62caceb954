"""Dot products of integers: exact, and modulo the accumulator or limited to it."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from hw.column_sums import ColumnSum
from hw.config import UnitConfig
from hw.dot_products.common import DotProduct
from hw.logic import named
from hw.pipeline import Bundle, Step
from hw.ports import Field, output_payload
from hw.products import SignedProduct

__all__ = ["IntegerDotProduct"]


class IntegerDotProduct(DotProduct):
    """``sum over the groups of sum_k first_k * second_k``; an illegal group counts 0.

    The next reduction starts from 0 and without error, as does the first after reset.  ``wrap``
    counts modulo 2**acc_width, ``saturate`` limits the sum to its range after each group.  The
    accumulator is the last register stage.

    Parameters
    ----------
    config
        The PE.
    has_digits
        Whether ``first`` is not numbers but what `hw.products.digits_of` gives for each of them.
    """

    def __init__(self, config: UnitConfig, *, has_digits: bool = False) -> None:
        super().__init__(config)
        self._has_digits = has_digits

    @property
    def group_fields(self) -> Mapping[str, Field]:
        """Bits of the group's products, at any places; at most two of each with K > 1."""
        flags = {name: Field(name, 1, 1, "bit") for name in ("error", "last")}
        return {"terms": Field("term", len(self._group_places), 1, "bit"), **flags}

    @property
    def result_fields(self) -> Mapping[str, Field]:
        """The result itself."""
        return output_payload(self.config)

    @property
    def stages_behind(self) -> int:
        """None: the accumulator is the output."""
        return 0

    @property
    def _product(self) -> SignedProduct:
        return SignedProduct(self.config.format.width, self.config.weight_format.width)

    @property
    def _exact_width(self) -> int:
        """Bits of the sum before it is limited."""
        config = self.config
        if config.overflow == "wrap":
            return config.acc_width
        dot_width = (
            config.format.width
            + config.weight_format.width
            + (config.multiplier_count - 1).bit_length()
        )
        return max(config.acc_width, dot_width) + 1

    @cached_property
    def _group_sum(self) -> ColumnSum:
        """The sum of the products of a group."""
        n, product = self.config.multiplier_count, self._product
        return ColumnSum(product.places * n, width=self._exact_width, constant=product.constant * n)

    @property
    def _is_merged(self) -> bool:
        """Whether the terms of the group and the accumulator are one sum, without a register."""
        return self.config.stages == 1

    @property
    def _group_places(self) -> tuple[int, ...]:
        """Places of the terms that the accumulator takes."""
        return (
            self._product.places * self.config.multiplier_count
            if self._is_merged
            else self._group_sum.left
        )

    def group_steps(self) -> list[Step]:
        """Multiply; add, until two numbers are left."""
        product, n = self._product, self.config.multiplier_count
        make = product.terms_of_digits if self._has_digits else product.terms

        def multiply(m: Module, bundle: Bundle) -> Bundle:
            pairs = zip(bundle["first"], bundle["second"], strict=True)
            return {
                "terms": [
                    term
                    for k, (first, second) in enumerate(pairs)
                    for term in make(m, f"product{k}", first, second)
                ]
            }

        steps = [Step(multiply, {"terms": n * len(product.places)}, ("first", "second"), levels=7)]
        return steps if self._is_merged else [*steps, *self._group_sum.steps("terms")]

    def accumulate(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> Mapping[str, Sequence[Value]]:
        """The sum of the groups so far, and whether one of them was illegal."""
        width = self.config.acc_width
        total = Signal(width, reset_less=True)
        error = Signal(reset_less=True)
        before = named(m, "before", Mux(fresh, 0, total))
        after = named(m, "after", self._add(m, before, group.terms))
        # An illegal group leaves the sum as it is, or starts it at 0.  The gates for this stand
        # behind the adder: with gates in front of it abc's search for equal nodes did not end in
        # minutes at 8:16, presumably because nearly all random patterns are illegal codes and
        # make everything behind the gates look constant.  Written as and-or, they are part of what
        # holds the sum, and smaller than a register with an enable and gates before it.
        load = named(m, "load", take & ~group.error)
        hold = named(m, "hold", ~take | (group.error & ~fresh))
        loaded = self._limited(after) & load.replicate(width)
        m.d.sync += total.eq(loaded | (total & hold.replicate(width)))
        with m.If(take):
            # Without the check the flag is a constant, and no register is left of it.
            m.d.sync += error.eq((group.error | (error & ~fresh)) if self.config.check else 0)
        return {"sum": [total], "error": [error]}

    def _add(self, m: Module, before: Value, terms: Value) -> Value:
        """``before + the group``, `_exact_width` bits.

        The accumulator is one more row of the columns: a full adder each, as in an adder behind
        them, but none in the longest path.
        """
        acc_width = self.config.acc_width
        constant = (
            self._product.constant * self.config.multiplier_count
            if self._is_merged
            else self._group_sum.left_constant
        )
        bits = list(before)
        if self._exact_width > acc_width:
            # The complement of the sign and a constant stand for its copies.
            bits[-1] = ~bits[-1]
            constant -= 1 << (acc_width - 1)
        columns = ColumnSum(
            (*range(acc_width), *self._group_places),
            width=self._exact_width,
            constant=constant,
        )
        first, second = columns.rows(columns.reduce(m, "columns", [*bits, terms]))
        return (first + second)[: self._exact_width]

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
