import math

import pytest
import torch

from sw.errors import InputError
from sw.model import LanguageModel
from sw.perplexity import Likelihood, paired_difference, perplexity, window_likelihood
from tests.sw.tiny_model import WORDS


def window(tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(tokens)
    return torch.randint(0, WORDS, (1, tokens), generator=generator)


def naive_log_likelihood(model: LanguageModel, tokens: torch.Tensor) -> float:
    """Token by token, each from a forward pass of its own over what is before it."""
    total = 0.0
    for place in range(1, tokens.shape[1]):
        with torch.no_grad():
            logits = model.model(tokens[:, :place], use_cache=False).logits[0, -1].double()
        target = int(tokens[0, place])
        total += float(logits[target]) - math.log(math.fsum(logits.exp().tolist()))
    return total


@pytest.mark.parametrize("tokens", [2, 3, 12])
def test_every_token_but_the_first(tiny: LanguageModel, tokens: int) -> None:
    got = window_likelihood(tiny.model, window(tokens))
    assert got.predictions == tokens - 1
    expected = naive_log_likelihood(tiny, window(tokens))
    assert got.log_likelihood == pytest.approx(expected, rel=1e-5)
    assert got.mean == pytest.approx(expected / (tokens - 1), rel=1e-5)


@pytest.mark.parametrize("prefill", [1, 5, 11, 12, 99])
def test_one_by_one_is_the_same(tiny: LanguageModel, prefill: int) -> None:
    got = window_likelihood(tiny.model, window(12), prefill)
    assert got.predictions == 11
    assert got.log_likelihood == pytest.approx(naive_log_likelihood(tiny, window(12)), rel=1e-5)


def test_tokens_that_are_read_one_by_one(tiny: LanguageModel) -> None:
    lengths = []
    hook = tiny.model.model.register_forward_pre_hook(
        lambda _module, _arguments, named: lengths.append(named["input_ids"].shape[1]),
        with_kwargs=True,
    )
    window_likelihood(tiny.model, window(6), 4)
    hook.remove()
    assert lengths == [4, 1, 1]


@pytest.mark.parametrize(
    ("tokens", "prefill", "message"),
    [
        (1, None, "window must have at least 2 tokens, not 1"),
        (5, 0, "prefill must be at least 1, not 0"),
    ],
)
def test_what_is_wrong(tiny: LanguageModel, tokens: int, prefill: int | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        window_likelihood(tiny.model, window(tokens), prefill)
    assert str(caught.value) == message


def test_perplexity_by_hand() -> None:
    # 4 tokens of probability 1/2 and 2 of 1/4: 8 bits over 6 tokens.
    windows = [Likelihood(4 * math.log(1 / 2), 4), Likelihood(2 * math.log(1 / 4), 2)]
    assert perplexity(windows) == pytest.approx(2 ** (8 / 6))
    assert perplexity([Likelihood(-1e6, 2)]) == math.inf


def test_difference_by_hand() -> None:
    reference = [Likelihood(-10.0, 10), Likelihood(-30.0, 10), Likelihood(-50.0, 10)]
    windows = [Likelihood(-11.0, 10), Likelihood(-32.0, 10), Likelihood(-53.0, 10)]
    # Differences 0.1, 0.2, 0.3: variance 0.01.
    mean, error = paired_difference(windows, reference)
    assert mean == pytest.approx(0.2)
    assert error == pytest.approx(math.sqrt(0.01 / 3))
    assert mean == pytest.approx(math.log(perplexity(windows) / perplexity(reference)))


def test_difference_of_unequal_windows() -> None:
    reference = [Likelihood(-10.0, 10), Likelihood(-30.0, 30)]
    windows = [Likelihood(-20.0, 10), Likelihood(-33.0, 30)]
    mean, error = paired_difference(windows, reference)
    assert mean == pytest.approx(13 / 40)
    assert mean == pytest.approx(math.log(perplexity(windows) / perplexity(reference)))
    assert error is not None


def test_one_window_has_no_error() -> None:
    assert paired_difference([Likelihood(-3.0, 2)], [Likelihood(-2.0, 2)]) == (0.5, None)
