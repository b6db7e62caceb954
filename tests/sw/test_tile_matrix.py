import pytest
import torch

import sw.tile_matrix
from hw.config import UnitConfig
from sw.golden import unit_model
from sw.tile_matrix import product_of_sums, steps_of_product
from tests.mutant import mutant
from tests.sw import naive

#: Tokens, features and outputs that fill their rows, lanes and columns, and that do not.
SHAPES = [(4, 8, 6), (1, 1, 1), (5, 11, 7), (2, 13, 3), (7, 4, 1)]

TILE = {"unit": "tile", "dtype": "int8", "rows": 2, "cols": 3}


def random_codes(*shape):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(sum(shape)))


def naive_product(n, m, data, weights):
    """Of each token, group by group, the N largest of M times their weights."""
    tokens, features = data.shape
    result = []
    for token in range(tokens):
        kept = set()
        for start in range(0, features, m):
            # A group that is cut short is filled with zeros at its end.
            group = [*data[token, start : start + m].tolist(), *[0] * m][:m]
            kept |= {start + lane for lane in naive.kept([naive.key(c, "int8") for c in group], n)}
        result.append(
            [
                sum(
                    naive.signed(int(data[token, j]), 8) * naive.signed(int(row[j]), 8)
                    for j in kept
                    if j < features
                )
                for row in weights
            ]
        )
    return result


@pytest.mark.parametrize(("tokens", "features", "outputs"), SHAPES)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 4), (3, 5)])
def test_product(n, m, tokens, features, outputs):
    config = UnitConfig(n=n, m=m, **TILE)
    data, weights = random_codes(tokens, features), random_codes(outputs, features)
    steps = sw.tile_matrix.steps_of_product(config, data, weights)
    count = -(-tokens // 2) * -(-outputs // 3) * -(-features // m)
    assert {name: tuple(codes.shape) for name, codes in steps.items()} == {
        "data": (count, 2 * m), "weights": (count, 3 * m), "last": (count, 1),
    }  # fmt: skip
    sums = unit_model(config)(steps)["sum"]
    product = sw.tile_matrix.product_of_sums(config, sums, tokens, outputs)
    assert product.tolist() == naive_product(n, m, data, weights)


def test_order_of_steps():
    """Two tokens side by side, two lanes a group; zeros where there is no third output."""
    config = UnitConfig(n=1, m=2, unit="tile", dtype="int8", rows=2, cols=2)
    data = torch.arange(1, 9).reshape(2, 4)
    weights = torch.arange(11, 23).reshape(3, 4)
    steps = steps_of_product(config, data, weights)
    assert steps["data"].tolist() == [[1, 2, 5, 6], [3, 4, 7, 8]] * 2
    assert steps["last"].flatten().tolist() == [0, 1, 0, 1]
    assert steps["weights"].tolist() == [
        [11, 12, 15, 16], [13, 14, 17, 18], [19, 20, 0, 0], [21, 22, 0, 0],
    ]  # fmt: skip


def test_negative_sums():
    config = UnitConfig(n=1, m=2, unit="tile", dtype="int8", rows=1, cols=2, acc_width=20)
    sums = torch.tensor([[(1 << 20) - 5, 7]])
    assert product_of_sums(config, sums, 1, 2).tolist() == [[-5, 7]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("transpose(1, 2).flatten(2)\n\n", "flatten(1, 1).flatten(2)\n\n"),
        ("last[:, :, -1] = 1", "last[:, -1] = 1"),
        ("-1)).transpose(1, 2)", "-1)).transpose(2, 3)"),
        ("rows.unsqueeze(1)", "rows.flip(0).unsqueeze(1)"),
    ],
)
def test_a_mistake_is_found(old, new, monkeypatch):
    broken = mutant(sw.tile_matrix, old, new)
    for name in sw.tile_matrix.__all__:
        monkeypatch.setattr(sw.tile_matrix, name, getattr(broken, name))
    with pytest.raises((AssertionError, RuntimeError)):
        test_product(2, 4, 5, 11, 7)
