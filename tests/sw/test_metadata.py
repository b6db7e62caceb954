from itertools import combinations, product
from math import comb

import pytest
import torch

from hw.config import METADATA
from sw.metadata import decode, encode
from tests.sw import naive

PATTERNS = [(2, 4), (1, 2), (3, 5), (3, 7), (4, 4), (1, 6), (4, 8)]


def every_mask(n: int, m: int) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    chosen = list(combinations(range(m), n))
    return chosen, torch.tensor([[lane in lanes for lane in range(m)] for lanes in chosen])


@pytest.mark.parametrize(
    ("lanes", "bitmap", "index", "rank"),
    [((0, 1), 0b0011, 0b0100, 0), ((2, 3), 0b1100, 0b1110, 5)],
)
def test_worked_examples(lanes, bitmap, index, rank):
    mask = torch.tensor([lane in lanes for lane in range(4)])
    assert naive.words(encode(mask, 2, "bitmap").tolist(), 1) == bitmap
    assert naive.words(encode(mask, 2, "bitmap-implied").tolist(), 1) == bitmap & 0b0111
    assert naive.words(encode(mask, 2, "index").tolist(), 2) == index
    assert encode(mask, 2, "enumerative").tolist() == [rank]


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_decoded(n, m):
    """One bit for each slot and each lane that can fill it, and one that says it is illegal."""
    chosen, mask = every_mask(n, m)
    fields = encode(mask, n, "decoded")
    assert fields.tolist() == [
        [
            *(
                int(lanes[slot] == lane)
                for slot in range(n)
                for lane in range(slot, slot + m - n + 1)
            ),
            0,
        ]
        for lanes in chosen
    ]
    again, error = decode(fields, n, m, "decoded")
    assert torch.equal(again, mask)
    assert not error.any()
    fields[..., -1] = 1
    again, error = decode(fields, n, m, "decoded")
    assert error.all()
    assert not again.any()


def test_the_greatest_rank():
    """It needs 61 bits; no sum on the way may need more than 63."""
    mask = torch.arange(64) >= 32
    assert encode(mask, 32, "enumerative").tolist() == [comb(64, 32) - 1]
    again, error = decode(torch.tensor([[comb(64, 32) - 1], [comb(64, 32)]]), 32, 64, "enumerative")
    assert torch.equal(again[0], mask)
    assert error.tolist() == [False, True]


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_every_mask(n, m):
    chosen, mask = every_mask(n, m)
    for code in METADATA:
        fields = encode(mask, n, code)
        assert fields.tolist() == [naive.write_meta(lanes, n, m, code) for lanes in chosen]
        assert fields.dtype == torch.int64
        again, error = decode(fields, n, m, code)
        assert torch.equal(again, mask)
        assert not error.any()
        assert (again.dtype, error.dtype) == (torch.bool, torch.bool)


@pytest.mark.parametrize("code", METADATA)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 2), (3, 5), (1, 3), (4, 4), (3, 7)])
def test_every_code(n, m, code):
    """Illegal codes raise the error and give an all-zero mask."""
    count = {"bitmap": m, "bitmap-implied": m - 1, "index": n, "enumerative": 1}[code]
    # Where there is but one rank, the port still has a bit.
    size = 1 << max(1, naive.meta_width(n, m, code))
    fields = list(product(range(size), repeat=count))
    mask, error = decode(torch.tensor(fields), n, m, code)
    named = [naive.read_meta(list(field), n, m, code) for field in fields]
    assert error.tolist() == [lanes is None for lanes in named]
    assert mask.to(torch.int64).tolist() == [naive.bitmap(lanes or [], m) for lanes in named]
    assert sum(lanes is not None for lanes in named) == len(every_mask(n, m)[0])


@pytest.mark.parametrize("code", METADATA)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
def test_batch_shapes(shape, code):
    mask = torch.tensor([False, True, True, False, True]).expand(*shape, 5)
    fields = encode(mask, 3, code)
    count = {"bitmap": 5, "bitmap-implied": 4, "index": 3, "enumerative": 1}[code]
    assert fields.shape == (*shape, count)
    again, error = decode(fields, 3, 5, code)
    assert torch.equal(again, mask)
    assert error.shape == shape


@pytest.mark.parametrize("code", METADATA)
def test_masks_with_another_number_of_ones(code):
    with pytest.raises(ValueError) as caught:
        encode(torch.tensor([[True, True, True, False]]), 2, code)
    assert str(caught.value) == "mask must keep exactly 2 lanes of each group, not 3"
