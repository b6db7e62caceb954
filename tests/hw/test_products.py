"""Products as terms of different places: all pairs of small numbers, corners of large ones."""

import numpy as np
import pytest
from amaranth.hdl import Module

from hw.pipeline import Bundle, Step
from hw.products import SignedProduct, digits_of
from tests.hw.steps import StepRunner


def terms_of(product: SignedProduct, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The terms (vectors, count), as the gateware makes them."""

    def compute(m: Module, bundle: Bundle) -> Bundle:
        return {"terms": product.terms(m, "product", bundle["first"][0], bundle["second"][0])}

    runner = StepRunner(
        [Step(compute, {"terms": len(product.places)}, ("first", "second"))],
        {"first": (1, product.first_width), "second": (1, product.second_width)},
        {"terms": (len(product.places), 1)},
    )
    codes = (
        (numbers & ((1 << width) - 1)).reshape(-1, 1)
        for numbers, width in ((first, product.first_width), (second, product.second_width))
    )
    return runner(**dict(zip(("first", "second"), codes, strict=True)))["terms"]


def check(product: SignedProduct, first: np.ndarray, second: np.ndarray) -> None:
    places = np.array([1 << place for place in product.places], dtype=np.int64)
    sums = terms_of(product, first, second) @ places + product.constant
    assert np.array_equal(sums, first * second)


@pytest.mark.parametrize("widths", [(2, 2), (4, 4), (4, 8), (8, 4), (8, 8), (2, 10)])
def test_all_pairs(widths):
    numbers = [np.arange(-(1 << (width - 1)), 1 << (width - 1)) for width in widths]
    first, second = (grid.flatten() for grid in np.meshgrid(*numbers))
    check(SignedProduct(*widths), first, second)


@pytest.mark.parametrize("widths", [(16, 16), (4, 16), (16, 8)])
def test_wide_numbers(widths):
    generator = np.random.default_rng(3)
    numbers = []
    for width in widths:
        low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
        corners = [low, low + 1, -2, -1, 0, 1, 2, high - 1, high, high // 3, low // 3]
        random = generator.integers(low, high, 4000, endpoint=True)
        random[::3] = generator.choice(corners, len(random[::3]))
        numbers.append(random)
    check(SignedProduct(*widths), *numbers)


@pytest.mark.parametrize(
    ("widths", "count"), [((4, 4), 12), ((8, 8), 40), ((8, 4), 20), ((4, 8), 20), ((16, 16), 144)]
)
def test_digits_are_those_of_the_narrower_number(widths, count):
    assert len(SignedProduct(*widths).places) == count


@pytest.mark.parametrize("width", [2, 4, 8])
def test_digits_make_the_number(width):
    """Each is of magnitude 0, 1 or 2, with its sign, in base 4."""

    def compute(m: Module, bundle: Bundle) -> Bundle:
        return {"digits": [digits_of(m, "number", bundle["number"][0])]}

    bits = width // 2 * 3
    assert SignedProduct(width, width).digits_width == bits
    runner = StepRunner(
        [Step(compute, {"digits": bits}, ("number",))],
        {"number": (1, width)},
        {"digits": (bits, 1)},
    )
    numbers = np.arange(-(1 << (width - 1)), 1 << (width - 1))
    digits = runner(number=(numbers & ((1 << width) - 1)).reshape(-1, 1))["digits"]
    single, double, negative = np.moveaxis(digits.reshape(len(numbers), -1, 3), -1, 0)
    assert not (single & double).any()
    values = (single + 2 * double) * (1 - 2 * negative)
    assert np.array_equal(values @ 4 ** np.arange(width // 2), numbers)


@pytest.mark.parametrize(
    ("widths", "is_first"), [((4, 4), True), ((4, 8), True), ((8, 4), False), ((8, 8), True)]
)
def test_whose_digits(widths, is_first):
    assert SignedProduct(*widths).has_first_digits == is_first
