import pytest
import torch

from sw.groups import to_groups


@pytest.mark.parametrize("m", [2, 3, 4, 7, 64])
@pytest.mark.parametrize("length", [1, 2, 4, 7, 8, 63, 64, 65])
def test_cut_and_padded(length, m):
    row = list(range(1, length + 1))
    padded = row + [0] * (-length % m)
    expected = [padded[i : i + m] for i in range(0, len(padded), m)]
    assert to_groups(torch.tensor(row), m).tolist() == expected


def test_no_group_crosses_a_row():
    rows = torch.arange(1, 13).reshape(2, 2, 3)
    groups = to_groups(rows, 2)
    assert groups.tolist() == [
        [[[1, 2], [3, 0]], [[4, 5], [6, 0]]],
        [[[7, 8], [9, 0]], [[10, 11], [12, 0]]],
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((0,), (0, 4)),
        ((2, 0), (2, 0, 4)),
        ((0, 5), (0, 2, 4)),
        ((2, 3, 8), (2, 3, 2, 4)),
    ],
)
def test_shapes(shape, expected):
    assert to_groups(torch.zeros(shape, dtype=torch.int64), 4).shape == expected


def test_memory_is_shared_where_nothing_is_padded():
    rows = torch.zeros(2, 8)
    assert to_groups(rows, 4).data_ptr() == rows.data_ptr()
