"""Counting ones with carry-save adders, one full-adder level a step.

Counts run for many lanes at once: every value is a vector with one bit a lane, so the text of the
Verilog stays short however many lanes there are.
"""

from collections.abc import Callable, Sequence

from amaranth.hdl import Const, Module, Value

from hw.pipeline import Bundle, Step

__all__ = ["CarrySaveCount", "majority"]

#: Values by weight: those of entry w count 2**w each.
Columns = list[list[Value]]


def majority(a: Value, b: Value, c: Value) -> Value:
    """Bitwise majority of three: the carry of a full adder."""
    return (a & b) | ((a | b) & c)


class CarrySaveCount:
    """Steps that reduce ``constant + sum of bits`` to at most two values of each weight.

    Each level turns three values of weight w into one of weight w and one of weight w + 1; a count
    of B bits takes about log1.5(B / 2) levels and, for all weights, fewer than B full adders.
    Values of weight `cap` and above are not added any more but kept side by side.

    Parameters
    ----------
    name
        Prefix of the values' names.
    input_count
        Number of bits counted.
    lanes
        Width of every value.
    constant
        Added to the count.
    cap
        Weight from which values are only collected.
    """

    #: Estimated depth of a full adder in two-input gates.
    LEVELS = 3

    def __init__(
        self, name: str, *, input_count: int, lanes: int, constant: int = 0, cap: int
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.cap = cap
        self.constant = constant
        self._heights = [[0] * (cap + 1)]
        self._heights[0][0] = input_count
        for weight in range(constant.bit_length()):
            self._heights[0][weight] += constant >> weight & 1
        while any(height > 2 for height in self._heights[-1][:cap]):
            self._heights.append(self._reduced(self._heights[-1]))

    def _reduced(self, heights: Sequence[int]) -> list[int]:
        adders = [height // 3 for height in heights[: self.cap]] + [0]
        return [
            height - 2 * adders[weight] + (adders[weight - 1] if weight else 0)
            for weight, height in enumerate(heights)
        ]

    def _names(self, level: int) -> list[list[str]]:
        return [
            [f"{self.name}{level}_weight{weight}_{i}" for i in range(height)]
            for weight, height in enumerate(self._heights[level])
        ]

    def start(self, bits: Sequence[Value]) -> Columns:
        """The columns that the bits and the constant make."""
        columns: Columns = [[] for _ in range(self.cap + 1)]
        columns[0].extend(bits)
        ones = Const((1 << self.lanes) - 1, self.lanes)
        for weight in range(self.constant.bit_length()):
            if self.constant >> weight & 1:
                columns[weight].append(ones)
        return columns

    def _add(self, columns: Columns) -> Columns:
        reduced: Columns = [[] for _ in columns]
        for weight, column in enumerate(columns):
            whole = len(column) // 3 * 3 if weight < self.cap else 0
            for i in range(0, whole, 3):
                a, b, c = column[i : i + 3]
                reduced[weight].append(a ^ b ^ c)
                reduced[weight + 1].append(majority(a, b, c))
            reduced[weight].extend(column[whole:])
        return reduced

    def steps(
        self,
        bits: Callable[[Bundle], Sequence[Value]],
        finish: Callable[[Columns], Bundle],
        consumes: tuple[str, ...],
    ) -> list[Step]:
        """One step a level, and one that makes the result from at most two values a weight.

        Parameters
        ----------
        bits
            Finds the bits to be counted among the living values.
        finish
            Makes the result from the reduced columns.
        consumes
            Names of the values that only the count needs.
        """
        levels = len(self._heights) - 1

        def columns_at(level: int, bundle: Bundle) -> Columns:
            if level == 0:
                return self.start(bits(bundle))
            return [[bundle[name] for name in names] for names in self._names(level)]

        def spent(level: int) -> tuple[str, ...]:
            if level == 0:
                return consumes
            return tuple(name for names in self._names(level) for name in names)

        def reduce_step(level: int) -> Step:
            def compute(m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG001 - a step's signature
                columns = self._add(columns_at(level, bundle))
                return {
                    name: value
                    for names, column in zip(self._names(level + 1), columns, strict=True)
                    for name, value in zip(names, column, strict=True)
                }

            return Step(compute, spent(level), self.LEVELS)

        def finish_step(m: Module, bundle: Bundle) -> Bundle:  # noqa: ARG001 - a step's signature
            return finish(columns_at(levels, bundle))

        return [
            *(reduce_step(level) for level in range(levels)),
            Step(finish_step, spent(levels), levels=self.cap + 2),
        ]
