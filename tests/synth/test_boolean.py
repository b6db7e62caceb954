import itertools

import pytest

from synth.boolean import FunctionError, truth_table

NAND = 0b0111


@pytest.mark.parametrize(
    "function",
    [
        "!(A&B)",
        "(!A) | (!B)",
        "(A B)'",
        "(A*B)'",
        "A' + B'",
        "!A|!B",
        " ( ( A & B ) ' ) ",
        "!((A)(B))",
        "1 ^ A | 1 ^ B",
        "A''' + !!B'",
    ],
)
def test_spellings_of_nand(function):
    assert truth_table(function, ["A", "B"]) == NAND


def test_precedence_is_not_xor_and_or():
    for a, b, c, d in itertools.product((0, 1), repeat=4):
        row = a | b << 1 | c << 2 | d << 3
        table = truth_table("A | B & C ^ !D", ["A", "B", "C", "D"])
        assert table >> row & 1 == (a | (b & (c ^ (1 - d))))


def test_first_input_is_the_lowest_bit():
    assert truth_table("A", ["A", "B"]) == 0b1010
    assert truth_table("B", ["A", "B"]) == 0b1100
    assert truth_table("0", ["A", "B"]) == 0
    assert truth_table("1", ["A", "B"]) == 0b1111


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("A & C", "'C' is out of place"),
        ("(A", "a bracket is not closed"),
        ("A)", "')' is out of place"),
        ("A |", "it ends"),
        ("", "it ends"),
        ("A ? B", "'?' has no meaning"),
    ],
)
def test_errors(function, why):
    with pytest.raises(FunctionError) as caught:
        truth_table(function, ["A", "B"])
    rule = "function must be a Liberty function of A, B"
    assert str(caught.value) == f"{rule}, not {function!r}: {why}"
