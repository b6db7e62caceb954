from itertools import combinations, product

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
    ("lanes", "bitmap", "index"), [((0, 1), 0b0011, 0b0100), ((2, 3), 0b1100, 0b1110)]
)
def test_worked_examples(lanes, bitmap, index):
    mask = torch.tensor([lane in lanes for lane in range(4)])
    assert naive.words(encode(mask, 2, "bitmap").tolist(), 1) == bitmap
    assert naive.words(encode(mask, 2, "index").tolist(), 2) == index


@pytest.mark.parametrize(("n", "m"), PATTERNS)
def test_every_mask(n, m):
    chosen, mask = every_mask(n, m)
    assert encode(mask, n, "index").tolist() == [list(lanes) for lanes in chosen]
    assert encode(mask, n, "bitmap").tolist() == [naive.bitmap(lanes, m) for lanes in chosen]
    for code in METADATA:
        fields = encode(mask, n, code)
        assert fields.dtype == torch.int64
        again, error = decode(fields, n, m, code)
        assert torch.equal(again, mask)
        assert not error.any()
        assert (again.dtype, error.dtype) == (torch.bool, torch.bool)


@pytest.mark.parametrize("code", METADATA)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 2), (3, 5), (1, 3), (4, 4), (3, 7)])
def test_every_code(n, m, code):
    """Illegal codes raise the error and give an all-zero mask."""
    size = 2 if code == "bitmap" else 1 << (m - 1).bit_length()
    fields = list(product(range(size), repeat=m if code == "bitmap" else n))
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
    assert fields.shape == (*shape, {"bitmap": 5, "index": 3}[code])
    again, error = decode(fields, 3, 5, code)
    assert torch.equal(again, mask)
    assert error.shape == shape


@pytest.mark.parametrize("code", METADATA)
def test_masks_with_another_number_of_ones(code):
    with pytest.raises(ValueError) as caught:
        encode(torch.tensor([[True, True, True, False]]), 2, code)
    assert str(caught.value) == "mask must keep exactly 2 lanes of each group, not 3"
