"""Logic functions as Liberty files spell them."""

import re
from collections.abc import Sequence

__all__ = ["FunctionError", "truth_table"]

_TOKEN = re.compile(r"\s*([A-Za-z_][\w.\[\]:]*|[01]|[!'^*&+|()])")


class FunctionError(ValueError):
    """A text is no logic function of the given inputs."""


def truth_table(function: str, inputs: Sequence[str]) -> int:
    """Truth table of a Liberty function.

    Parameters
    ----------
    function
        The text: `!A` or `A'` inverts; then, from the strongest binding to the weakest, `A ^ B`;
        `A & B`, `A * B` or `A B`; `A | B` or `A + B`.
    inputs
        Names of the inputs, lowest first.

    Returns
    -------
    int
        Bit i is the function's value where input k is bit k of i.

    Raises
    ------
    FunctionError
        The text is not a function of these inputs.

    Examples
    --------
    >>> bin(truth_table("!(A & B)", ["A", "B"]))
    '0b111'
    >>> truth_table("(!A) + B'", ["A", "B"]) == truth_table("(A B)'", ["A", "B"])
    True
    """
    return _Parser(function, inputs).parse()


class _Parser:
    """Recursive descent; every value is the truth table of what was read."""

    def __init__(self, function: str, inputs: Sequence[str]) -> None:
        self.function = function
        rows = 1 << len(inputs)
        self.ones = (1 << rows) - 1
        self.values = {"0": 0, "1": self.ones}
        for place, name in enumerate(inputs):
            self.values[name] = sum(1 << row for row in range(rows) if row >> place & 1)
        self.tokens: list[str] = []
        position = 0
        while function[position:].strip():
            token = _TOKEN.match(function, position)
            if token is None:
                raise self.error(f"{function[position:].strip()[0]!r} has no meaning")
            self.tokens.append(token[1])
            position = token.end()
        self.tokens.append("")

    def error(self, why: str) -> FunctionError:
        return FunctionError(
            f"function must be a Liberty function of {', '.join(list(self.values)[2:])}, "
            f"not {self.function!r}: {why}"
        )

    def parse(self) -> int:
        value = self.disjunction()
        if self.tokens[0]:
            raise self.error(f"{self.tokens[0]!r} is out of place")
        return value

    def take(self, *tokens: str) -> bool:
        if self.tokens[0] in tokens:
            del self.tokens[0]
            return True
        return False

    def disjunction(self) -> int:
        value = self.conjunction()
        while self.take("|", "+"):
            value |= self.conjunction()
        return value

    def conjunction(self) -> int:
        value = self.exclusive()
        # A blank is an AND too: whatever can start an operand continues the product.
        while self.take("&", "*") or self.tokens[0] in ("!", "(") or self.tokens[0] in self.values:
            value &= self.exclusive()
        return value

    def exclusive(self) -> int:
        value = self.operand()
        while self.take("^"):
            value ^= self.operand()
        return value

    def operand(self) -> int:
        if self.take("!"):
            return self.ones ^ self.operand()
        if self.take("("):
            value = self.disjunction()
            if not self.take(")"):
                raise self.error("a bracket is not closed")
        elif self.tokens[0] in self.values:
            value = self.values[self.tokens.pop(0)]
        else:
            raise self.error(f"{self.tokens[0]!r} is out of place" if self.tokens[0] else "it ends")
        while self.take("'"):
            value ^= self.ones
        return value
