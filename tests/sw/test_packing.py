from itertools import combinations

import pytest
import torch

from sw.packing import kept_lanes, pack, unpack

PATTERNS = [(2, 4), (1, 2), (3, 5), (4, 4), (1, 6), (5, 6), (4, 8)]


def every_mask(n: int, m: int) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    chosen = list(combinations(range(m), n))
    return chosen, torch.tensor([[lane in lanes for lane in range(m)] for lanes in chosen])


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_lanes_ascend(n, m):
    chosen, mask = every_mask(n, m)
    assert kept_lanes(mask, n).tolist() == [list(lanes) for lanes in chosen]


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_pack_and_unpack(n, m):
    chosen, mask = every_mask(n, m)
    codes = torch.randint(
        0, 1 << 16, (len(chosen), m), generator=torch.Generator().manual_seed(n * m)
    )
    values = pack(codes, mask, n)
    assert values.tolist() == [
        [group[lane] for lane in lanes] for group, lanes in zip(codes.tolist(), chosen, strict=True)
    ]
    assert unpack(values, mask).tolist() == [
        [code if lane in lanes else 0 for lane, code in enumerate(group)]
        for group, lanes in zip(codes.tolist(), chosen, strict=True)
    ]


def test_slot_0_first_and_values_unchanged():
    codes = torch.tensor([[0x8000, 0x7FC1, 0xFF80, 0x0001]])
    mask = torch.tensor([[True, False, True, False]])
    assert pack(codes, mask, 2).tolist() == [[0x8000, 0xFF80]]
    assert unpack(torch.tensor([[0x8000, 0xFF80]]), mask).tolist() == [[0x8000, 0, 0xFF80, 0]]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
def test_batch_shapes(shape):
    codes = torch.arange(5).expand(*shape, 5)
    mask = torch.tensor([False, True, False, True, True]).expand(*shape, 5)
    assert kept_lanes(mask, 3).shape == (*shape, 3)
    values = pack(codes, mask, 3)
    assert torch.equal(values, torch.tensor([1, 3, 4]).expand(*shape, 3))
    assert torch.equal(unpack(values, mask), torch.tensor([0, 1, 0, 3, 4]).expand(*shape, 5))


@pytest.mark.parametrize(
    ("mask", "wrong"),
    [
        ([[True, True, False, False], [True, False, False, False]], 1),
        ([[True, True, True, False]], 3),
        ([[False] * 4], 0),
        # The same number in total.
        ([[True, True, True, False], [True, False, False, False]], 3),
    ],
)
def test_other_numbers_of_lanes(mask, wrong):
    message = f"mask must keep exactly 2 lanes of each group, not {wrong}"
    codes = torch.zeros(len(mask), 4, dtype=torch.int64)
    for call in (
        lambda: kept_lanes(torch.tensor(mask), 2),
        lambda: pack(codes, torch.tensor(mask), 2),
        lambda: unpack(codes[:, :2], torch.tensor(mask)),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == message
