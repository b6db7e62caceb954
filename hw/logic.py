"""Small helpers to write logic that simulates fast and reads well as Verilog."""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate
from operator import and_, or_

from amaranth.hdl import Module, Signal, Value

__all__ = ["all_of", "any_of", "majority", "named", "split"]


def _tree(operation: Callable[[Value, Value], Value], values: Sequence[Value]) -> Value:
    values = list(values)
    while len(values) > 1:
        values = [reduce(operation, values[i : i + 2]) for i in range(0, len(values), 2)]
    return values[0]


def any_of(values: Sequence[Value]) -> Value:
    """Bitwise or of all values, as a balanced tree."""
    return _tree(or_, values)


def all_of(values: Sequence[Value]) -> Value:
    """Bitwise and of all values, as a balanced tree."""
    return _tree(and_, values)


def majority(a: Value, b: Value, c: Value) -> Value:
    """Bitwise whether two of three values or more are 1: the carry of a full adder."""
    return (a & b) | ((a | b) & c)


def named(m: Module, name: str, value: Value) -> Signal:
    """A signal of that name that holds the value."""
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal


def split(m: Module, name: str, vector: Value, widths: Sequence[int]) -> list[Value]:
    """The elements of a vector, of the given widths, element 0 lowest, each a signal.

    Amaranth takes a slice of a slice apart bit by bit, the whole vector each time it is read.
    """
    ends = list(accumulate(widths))
    return [
        named(m, f"{name}{k}", vector[end - width : end])
        for k, (width, end) in enumerate(zip(widths, ends, strict=True))
    ]
