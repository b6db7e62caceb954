"""The units behind the selection against the formulas in floating point, on captured tokens."""

import pytest
import torch

from tests.sw.token_chain import TokenChain


@pytest.mark.parametrize(("align_bits", "tolerance"), [(16, 1e-4), (24, 1e-6), (40, 1e-6)])
def test_units_compute_the_methods(align_bits: int, tolerance: float) -> None:
    chain = TokenChain(48, align_bits)
    shift, ratio, result = chain.in_floats()
    # To the bits of bf16 the means are the same.
    assert torch.equal(chain.shift, shift)
    assert torch.allclose(chain.ratio.double(), ratio, rtol=tolerance, atol=0)

    def is_near(other: torch.Tensor) -> bool:
        off = (other.double() - result).abs().amax(-1) / result.abs().amax(-1)
        return bool((off < tolerance).all())

    assert is_near(chain.result)
    # The guards: each part counts.
    returned = chain.shift.double() * chain.weight.double().sum(-1)
    product = result - returned - chain.bias
    assert not is_near(result - product + product / ratio)
    assert not is_near(result - returned)
    assert not is_near(result - product + product / (1 + chain.gain))
    assert not is_near(result - chain.bias)
