"""Windows: the pieces of a text that a language model reads, each on its own."""

import operator
import random
import re
from typing import Any

import torch

from sw.errors import InputError
from sw.model import LanguageModel
from sw.text import Text

__all__ = ["check_windows", "draw_windows", "parse_tokens", "read_windows", "tokenizer_name"]


def parse_tokens(argument: str) -> tuple[int, int]:
    """START:STOP as two numbers.

    Raises
    ------
    InputError
        It is something else.
    """
    match = re.fullmatch(r"(\d{1,18}):(\d{1,18})", argument, re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        raise InputError(f"tokens must be START:STOP with 0 <= START < STOP, not {argument!r}")
    return int(match[1]), int(match[2])


def check_windows(tokens: tuple[int, int], window: int) -> tuple[int, int, int]:
    """START, STOP and the window as integers.

    Raises
    ------
    InputError
        The range is empty or negative, or the window less than a token.
    """
    start, stop = map(operator.index, tokens)
    window = operator.index(window)
    if not 0 <= start < stop:
        raise InputError(f"tokens must be START:STOP with 0 <= START < STOP, not {start}:{stop}")
    if window < 1:
        raise InputError(f"window must be at least 1, not {window}")
    return start, stop, window


def read_windows(
    language_model: LanguageModel, text: Text, tokens: tuple[int, int], window: int
) -> list[torch.Tensor]:
    """The tokens START .. STOP - 1 of a text in windows that follow each other without overlap.

    No special tokens are added.

    Parameters
    ----------
    language_model, text
        From `sw.model.load_model` and `sw.text.load_text`.
    tokens
        (START, STOP).
    window
        Most tokens of a window; only the last one has fewer.

    Returns
    -------
    list
        int64 (1, tokens of the window) each.

    Raises
    ------
    InputError
        An argument breaks a rule, also one that the model or the text sets.
    """
    start, stop, window = check_windows(tokens, window)
    token_ids = _token_ids(language_model, text, start, stop, window)
    return [token_ids[:, begin : begin + window] for begin in range(0, stop - start, window)]


def draw_windows(
    language_model: LanguageModel,
    text: Text,
    tokens: tuple[int, int],
    window: int,
    count: int,
    seed: int = 0,
) -> list[torch.Tensor]:
    """Windows at random places of the tokens START .. STOP - 1 of a text; they may overlap.

    Parameters
    ----------
    language_model, text
        From `sw.model.load_model` and `sw.text.load_text`.
    tokens
        (START, STOP).
    window
        Tokens of each window, 2 .. STOP - START.
    count
        How many windows, at least 1.
    seed
        Equal seeds draw equal windows.

    Returns
    -------
    list
        int64 (1, window) each.

    Raises
    ------
    InputError
        An argument breaks a rule, also one that the model or the text sets.
    """
    start, stop, window = check_windows(tokens, window)
    if count < 1:
        raise InputError(f"windows must be at least 1, not {count}")
    if not 2 <= window <= stop - start:
        raise InputError(
            f"window must be between 2 and the {stop - start} tokens of the range, not {window}"
        )
    token_ids = _token_ids(language_model, text, start, stop, window)
    chosen = random.Random(seed)
    begins = [chosen.randint(0, stop - start - window) for _ in range(count)]
    return [token_ids[:, begin : begin + window] for begin in begins]


def tokenizer_name(tokenizer: Any) -> str:
    """What metadata says about a tokenizer."""
    return f"{type(tokenizer).__name__}, {len(tokenizer)} entries, no special tokens added"


def _token_ids(
    language_model: LanguageModel, text: Text, start: int, stop: int, window: int
) -> torch.Tensor:
    """The tokens START .. STOP - 1 of a text, int64 (1, STOP - START)."""
    context = getattr(language_model.model.config, "max_position_embeddings", None)
    if context is not None and min(window, stop - start) > context:
        raise InputError(f"window must be at most {context}, the model's context, not {window}")
    # Not verbose: that a text is longer than the model's context is no news, it is cut in windows.
    encoded = language_model.tokenizer(text.content, add_special_tokens=False, verbose=False)
    token_ids = encoded["input_ids"]
    if stop > len(token_ids):
        raise InputError(
            f"tokens must be within the {len(token_ids)} tokens of the text, not {start}:{stop}"
        )
    return torch.tensor([token_ids[start:stop]])
