"""Tests of `hw.scores` against the golden model."""

import numpy as np
import pytest
import torch

from hw.formats import FORMATS
from hw.score_formats import ScoreFormat, scale_format_of
from hw.scores import score_steps
from sw.scores import exact_scores
from tests.hw.steps import StepRunner
from tests.sw import naive


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *((dtype, scale) for dtype in ("int4", "bf16") for scale in ("u8", "pow2", "bf16")),
        ("int8", "u1"),
        ("int16", "u13"),
        ("fp16", "u8"),
        ("fp8_e4m3", "u5"),
        ("fp8_e5m2", "pow2"),
    ],
)
def test_scores(dtype: str, scale: str) -> None:
    number_format, scale_format = FORMATS[dtype], scale_format_of(scale)
    assert scale_format is not None
    score = ScoreFormat(number_format, scale_format)
    rng = np.random.default_rng(len(dtype) + len(scale))
    count = 1500
    codes = rng.integers(0, 1 << number_format.width, (count, 2))
    scales = rng.integers(0, 1 << scale_format.width, (count, 2))
    awkward = naive.AWKWARD[dtype]
    codes[: 8 * len(awkward), 0] = np.resize(awkward, 8 * len(awkward))
    top = (1 << scale_format.width) - 1
    small = [0, 1, min(2, top), top]
    scales[: count // 2, 0] = np.resize(small, count // 2)
    expected = exact_scores(torch.from_numpy(codes), torch.from_numpy(scales), score).numpy()
    for width, stages in ((score.width, 0), (max(1, score.width - 9), 3)):
        runner = StepRunner(
            score_steps(score, 2, width=width, consumes=("data",)),
            {"data": (2, number_format.width), "scale": (2, scale_format.width)},
            {"keys": (2, width)},
            stages,
        )
        found = runner(data=codes, scale=scales)["keys"]
        assert np.array_equal(found, expected >> (score.width - width))
