import shutil

import pytest
import torch

from sw.codes import numbers_of
from sw.selection_candidates import CANDIDATES, compiled_network, topk_scatter
from tests.sw import naive

COMPILER = shutil.which("c++") or shutil.which("g++")

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def problem(dtype: str, n: int, m: int) -> tuple[torch.Tensor, list[list[int]]]:
    """Groups, and their masks by the definition."""
    groups = naive.groups(dtype, m, 24, seed=n * m)
    keys = [[naive.key(code, dtype) for code in group] for group in groups]
    masks = [naive.bitmap(naive.kept(group, n), m) for group in keys]
    return numbers_of(torch.tensor(groups), dtype), masks


@pytest.mark.parametrize(("n", "m"), naive.PATTERNS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CANDIDATES)
def test_definition(name, dtype, n, m):
    x, masks = problem(dtype, n, m)
    assert CANDIDATES[name](x, n, m).to(torch.int64).tolist() == masks


@pytest.mark.parametrize("name", CANDIDATES)
def test_fp32(name):
    # Numbers of bf16 are numbers of fp32; the payload of a NaN might not survive the way.
    x, masks = problem("bf16", 3, 7)
    number = ~x.isnan().any(-1)
    expected = [mask for mask, counts in zip(masks, number.tolist(), strict=True) if counts]
    got = CANDIDATES[name](x[number].float(), 3, 7)
    assert len(expected) > 20
    assert got.to(torch.int64).tolist() == expected


@pytest.mark.parametrize("name", CANDIDATES)
def test_rows_and_blocks(name, monkeypatch):
    monkeypatch.setattr("sw.selection_candidates._BLOCK", 7)
    x, masks = problem("bf16", 4, 8)
    x = x[:32].reshape(2, 4, 32)
    got = CANDIDATES[name](x, 4, 8)
    assert got.shape == x.shape
    assert got.reshape(-1, 8).to(torch.int64).tolist() == masks[:32]


def test_topk_keeps_the_same_magnitudes():
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    mask = topk_scatter(x, 4, 8)
    groups = x.abs().view(-1, 8).tolist()
    for group, kept in zip(groups, mask.view(-1, 8).tolist(), strict=True):
        magnitudes = [magnitude for magnitude, keep in zip(group, kept, strict=True) if keep]
        assert sorted(magnitudes) == sorted(group)[4:]


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler: c++ or g++")
# Importing what compiles warns in some versions of PyTorch.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled():
    compiled = compiled_network(4, 8)
    for dtype in DTYPES:
        x, masks = problem(dtype, 4, 8)
        assert compiled(x).to(torch.int64).tolist() == masks
        assert compiled(x[:5]).to(torch.int64).tolist() == masks[:5]
