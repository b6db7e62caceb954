import math

import pytest
import torch

from sw.input_statistics import NAMES, InputStatistics


def windows(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(5, 6, generator=generator) + 0.5).to(dtype) for _ in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_definitions(dtype: torch.dtype) -> None:
    statistics = InputStatistics(NAMES)
    for window in windows(dtype):
        statistics.update(window)
    got = {name: value.tolist() for name, value in statistics.constants().items()}
    tokens = [token for window in windows(dtype) for token in window.tolist()]
    columns = list(zip(*tokens, strict=True))
    # The lower one of the two in the middle.
    assert got["shift.s-pts"] == pytest.approx(sum(sorted(t)[2] for t in tokens) / 15, rel=1e-6)
    assert got["shift.s-pts-channel"] == pytest.approx([sum(c) / 15 for c in columns], rel=1e-6)
    # A sum over the tokens of each of the three windows, then the mean of the sums.
    norms = [math.sqrt(math.fsum(x * x for x in c) / 3) for c in columns]
    assert got["input_norm"] == pytest.approx(norms, rel=1e-6)
    assert got["input_max"] == [max(map(abs, c)) for c in columns]


def test_types_and_shapes() -> None:
    statistics = InputStatistics(NAMES)
    statistics.update(windows(torch.float16)[0])
    constants = statistics.constants()
    assert list(constants) == list(NAMES)
    assert {tensor.dtype for tensor in constants.values()} == {torch.float32}
    assert [tuple(tensor.shape) for tensor in constants.values()] == [(), (6,), (6,), (6,)]


def test_only_what_was_asked_for() -> None:
    statistics = InputStatistics({"input_max", "scale.amber"})
    statistics.update(torch.ones(2, 3))
    assert list(statistics.constants()) == ["input_max"]


def test_large_activations() -> None:
    statistics = InputStatistics(["input_norm"])
    statistics.update(torch.full((4, 1), 1e30))
    assert statistics.constants()["input_norm"].item() == pytest.approx(2e30)
