"""Perplexity of a language model over windows, and how it compares with another one's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sw.errors import InputError

__all__ = ["Likelihood", "paired_difference", "perplexity", "window_likelihood"]


@dataclass(frozen=True)
class Likelihood:
    """How well a model predicted the tokens of one window.

    Parameters
    ----------
    log_likelihood
        Sum over the predicted tokens of log P(token | tokens before it in the window), in nats.
    predictions
        How many tokens were predicted: all of the window but the first.
    """

    log_likelihood: float
    predictions: int

    @property
    def mean(self) -> float:
        """Log-likelihood of a token."""
        return self.log_likelihood / self.predictions


@torch.no_grad()
def window_likelihood(model: Any, window: torch.Tensor, prefill: int | None = None) -> Likelihood:
    """Let a causal language model predict every token of a window from those before it.

    The first token has nothing before it and is read but not predicted.

    Parameters
    ----------
    model
        A causal language model of `transformers`.
    window
        Tokens (1, T), T at least 2.
    prefill
        So many tokens are read at once, and the others one by one with a cache, as when text is
        generated; None: all at once.

    Raises
    ------
    InputError
        The window is too short, or there is nothing to read at once.
    """
    tokens = window.shape[1]
    if tokens < 2:
        raise InputError(f"window must have at least 2 tokens, not {tokens}")
    prefill = tokens if prefill is None else min(prefill, tokens)
    if prefill < 1:
        raise InputError(f"prefill must be at least 1, not {prefill}")
    total = 0.0
    cache = None
    begin = 0
    for end in range(prefill, tokens + 1):
        output = model(window[:, begin:end], past_key_values=cache, use_cache=prefill < tokens)
        cache = output.past_key_values
        # The last token of the window predicts nothing that is known.
        targets = window[0, begin + 1 : end + 1]
        logits = output.logits[0, : len(targets)].float()
        losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        total -= float(losses.double().sum())
        begin = end
    return Likelihood(total, tokens - 1)


def perplexity(windows: Sequence[Likelihood]) -> float:
    """``exp(- sum of log-likelihoods / predicted tokens)`` over all windows; inf beyond fp64."""
    total = math.fsum(window.log_likelihood for window in windows)
    try:
        return math.exp(-total / sum(window.predictions for window in windows))
    except OverflowError:
        return math.inf


def paired_difference(
    windows: Sequence[Likelihood], reference: Sequence[Likelihood]
) -> tuple[float, float | None]:
    """How much worse each token is predicted than by a reference on the same windows, in nats.

    With d[w] = reference mean - mean of window w: the mean of d over the W windows, each counted by
    its tokens, and its standard error ``sqrt(sum of (d[w] - mean)**2 / (W * (W - 1)))``.  What
    makes one window harder than another falls out of the differences.

    Returns
    -------
    difference
        Logarithm of the ratio of the two perplexities.
    standard_error
        None for a single window.
    """
    predictions = [window.predictions for window in windows]
    differences = [b.mean - a.mean for a, b in zip(windows, reference, strict=True)]
    mean = math.fsum(
        difference * count for difference, count in zip(differences, predictions, strict=True)
    ) / sum(predictions)
    count = len(differences)
    if count < 2:
        return mean, None
    spread = math.fsum((difference - mean) ** 2 for difference in differences)
    return mean, math.sqrt(spread / (count * (count - 1)))
