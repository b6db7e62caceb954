"""Shapes of models, against the numbers of parameters that are published of them."""

import pytest

from sim.model_shapes import LINEARS, MODELS, Linear


@pytest.mark.parametrize(
    ("model", "tied", "norms", "biases", "published"),
    [
        # What the checkpoints hold, and the head's own weights where they are not the embedding's.
        ("SmolLM2-135M", True, 2 * 576, 0, 134_515_008),
        ("Llama-2-7B", False, 2 * 4096, 0, 6_738_415_616),
        ("Llama-3.1-8B", False, 2 * 4096, 0, 8_030_261_248),
        # With biases of q, k and v.
        ("Qwen2.5-7B", False, 2 * 3584, 3584 + 2 * 512, 7_615_616_512),
        # Four norms of a token, and one each of a query and a key.  The number is published for
        # the 262,144 tokens there are; 64 rows more are in the checkpoint.
        ("Gemma-3-4B", True, 4 * 2560 + 2 * 256, 0, 3_880_099_328 + 64 * 2560),
    ],
)
def test_parameters(model: str, tied: bool, norms: int, biases: int, published: int) -> None:
    shape = MODELS[model]
    *linears, head = (linear.inputs * linear.outputs for linear in shape.linears)
    embedding = shape.vocabulary * shape.hidden
    layer = sum(linears) + norms + biases
    last_norm = shape.hidden
    total = embedding + shape.layers * layer + last_norm + (0 if tied else head)
    assert total == published


def test_every_model_is_counted() -> None:
    """Nobody adds a model without its number of parameters."""
    (mark,) = test_parameters.pytestmark  # type: ignore[attr-defined]
    assert [case[0] for case in mark.args[1]] == list(MODELS)


def test_linears() -> None:
    assert MODELS["Gemma-3-4B"].linears == (
        # 8 heads of 256 are not the 2560 features of a token.
        Linear("q", 2560, 2048),
        Linear("k", 2560, 1024),
        Linear("v", 2560, 1024),
        Linear("o", 2048, 2560),
        Linear("gate", 2560, 10_240),
        Linear("up", 2560, 10_240),
        Linear("down", 10_240, 2560),
        Linear("lm_head", 2560, 262_208),
    )
    assert tuple(linear.name for linear in MODELS["Gemma-3-4B"].linears) == LINEARS
