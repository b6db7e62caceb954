import math

import pytest
import torch

import sw.quantized_linear
from hw.config import UnitConfig
from sw.quantized_linear import error_of
from tests.mutant import mutant
from tests.sw import naive

X = torch.tensor(
    [[1.0, -2.0, 0.5, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0, 0.0], [-8.0, 7.0, 1.0, 1.0, 2.0]]
)
WEIGHT = torch.tensor([[1.0, 2.0, -4.0, 0.5, 1.0], [-0.25, 0.125, 0.5, 0.0, 0.25]])


def everything():
    """All that a mistake could show in."""
    test_product(2, 4)
    test_kept()
    test_numbers()


def config(n, m):
    return UnitConfig(n=n, m=m, unit="tile", dtype="int8")


def linear():
    return sw.quantized_linear.QuantizedLinear(X, WEIGHT)


def rounded(row):
    """Codes as signed integers, of which the largest magnitude is 127."""
    largest = max(map(abs, row))
    return [round(value * 127 / largest) if largest else 0 for value in row]


def kept(row, n, m):
    """Lanes of a row that are kept, zeros behind its end."""
    keys = [abs(value) for value in row] + [0] * (-len(row) % m)
    return {
        start + lane
        for start in range(0, len(keys), m)
        for lane in naive.kept(keys[start : start + m], n)
    }


def products(n, m):
    return [
        [
            sum(x[j] * w[j] for j in kept(x, n, m) if j < len(x))
            for w in map(rounded, WEIGHT.tolist())
        ]
        for x in map(rounded, X.tolist())
    ]


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 3), (2, 3)])
def test_product(n, m):
    assert linear().product(config(n, m)).tolist() == products(n, m)


def test_kept():
    mask = linear().kept(config(1, 2))
    lanes = [kept(rounded(row), 1, 2) for row in X.tolist()]
    assert mask.tolist() == [[j in chosen for j in range(5)] for chosen in lanes]


def test_numbers():
    """Each product times the step of its token and of its output."""
    numbers = linear().numbers(linear().product(config(3, 3)))
    expected = [
        [
            total * max(map(abs, x)) / 127 * max(map(abs, w)) / 127
            for total, w in zip(totals, WEIGHT.tolist(), strict=True)
        ]
        for totals, x in zip(products(3, 3), X.tolist(), strict=True)
    ]
    torch.testing.assert_close(numbers, torch.tensor(expected, dtype=torch.float64))
    # And that is near what it stands for.
    assert float((numbers - linear().outputs).abs().max()) < 0.15


def test_sparse_outputs():
    outputs = linear().sparse_outputs(config(2, 4))
    for x, got in zip(X.tolist(), outputs.tolist(), strict=True):
        chosen = kept(rounded(x), 2, 4)
        assert got == [sum(x[j] * w[j] for j in chosen if j < len(x)) for w in WEIGHT.tolist()]


def test_error():
    error = error_of(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[0.0, 5.0], [0.0, 1.0]]))
    assert error.relative == pytest.approx(math.sqrt(10 / 26))
    assert error.of_token == pytest.approx((math.sqrt(10) / 5 + 0) / 2)
    assert error.cosine == pytest.approx((4 / 5 + 1) / 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("signed(self.weights, width).T", "self.weights.T"),
        ("signed(unpack(values, mask), width)", "unpack(values, mask)"),
        ("tokens * outputs.T", "outputs.max() * tokens"),
        ("mask.flatten(-2)[:, : self", "mask.flip(-1).flatten(-2)[:, : self"),
    ],
)
def test_a_mistake_is_found(old, new, monkeypatch):
    broken = mutant(sw.quantized_linear, old, new)
    monkeypatch.setattr(sw.quantized_linear, "QuantizedLinear", broken.QuantizedLinear)
    with pytest.raises(AssertionError):
        everything()
