"""Columns of full adders: sums of bits of any places, whole and cut into steps."""

from collections import Counter

import numpy as np
import pytest
from amaranth.hdl import Module

from hw.column_sums import ColumnSum
from hw.logic import named
from hw.pipeline import Bundle, Step
from tests.hw.steps import StepRunner

#: Places of terms, width, constant.
CASES = {
    "one": ((0,), 1, 0),
    "nothing but a constant": ((3,), 3, 5),
    "two columns": ((0, 0, 0, 1, 1, 1, 1), 6, 0),
    "carries beyond the width": ((0, 1, 2) * 7, 3, 6),
    "all ones": (tuple(range(9)) * 4, 12, (1 << 12) - 1),
    "ragged": (tuple(place for place in range(11) for _ in range(1 + 5 * place % 7)), 16, 0x8421),
    "tall": ((0,) * 40 + (7,) * 3, 9, 100),
}


def finish(columns: ColumnSum) -> Step:
    """The sum of what is left."""

    def compute(m: Module, bundle: Bundle) -> Bundle:
        first, second = columns.rows(bundle["terms"])
        return {"sum": [named(m, "sum", (first + second)[: columns.width])]}

    return Step(compute, {"sum": columns.width}, ("terms",))


def whole(columns: ColumnSum) -> Step:
    return Step(
        lambda m, bundle: {"terms": columns.reduce(m, "sum", bundle["terms"])},
        {"terms": len(columns.left)},
        ("terms",),
    )


def vectors(places: tuple[int, ...]) -> np.ndarray:
    """All ones, all zeros, and random bits of all densities."""
    generator = np.random.default_rng(5)
    density = generator.random((500, 1))
    bits = generator.random((500, len(places))) < density
    bits[0], bits[1] = True, False
    return bits.astype(np.int64)


@pytest.mark.parametrize(("places", "width", "constant"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("stages", [None, 0, 2, 7])
def test_sum(places, width, constant, stages):
    """In one piece, in steps, and in steps with registers between them."""
    columns = ColumnSum(places, width=width, constant=constant)
    steps = [whole(columns)] if stages is None else columns.steps("terms")
    terms = vectors(places)
    runner = StepRunner(
        [*steps, finish(columns)],
        {"terms": (len(places), 1)},
        {"sum": (1, width)},
        stages or 0,
    )
    expected = [
        (sum(bit << place for bit, place in zip(row, places, strict=True)) + constant)
        % (1 << width)
        for row in terms.tolist()
    ]
    assert runner(terms=terms)["sum"].flatten().tolist() == expected


@pytest.mark.parametrize(("places", "width", "constant"), CASES.values(), ids=CASES)
def test_at_most_two_are_left_of_each_place(places, width, constant):
    columns = ColumnSum(places, width=width, constant=constant)
    ones = [place for place in range(width) if columns.left_constant >> place & 1]
    assert max(Counter([*columns.left, *ones]).values()) <= 2
    assert max(columns.left) < width if columns.left else places == (3,)


def test_nothing_is_left_to_add_of_few_terms():
    """Without three terms in a place there are no adders and no steps between."""
    columns = ColumnSum((0, 2, 2), width=4, constant=2)
    assert (columns.left, columns.left_constant) == ((0, 2, 2), 2)
    assert [step.produces for step in columns.steps("terms")] == [{"terms": 3}]
