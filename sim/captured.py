"""Captured activations for the benches: from the language model, or else the committed sample."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from hw.progress import ticking
from sw.activations import read_activations
from sw.model import ModelUnavailable, default_model_file, load_model
from sw.sample import SAMPLE
from sw.text import load_text

__all__ = ["Captured", "captured_activations", "given_activations", "tokens_for"]

#: The first layer, the last, and one whose down projection sees massive activations.
LAYERS = (0, 11, 29)

#: Elements that one token gives there: inputs of q, o, gate (576 each) and down (1536).
ELEMENTS_PER_TOKEN = len(LAYERS) * (3 * 576 + 1536)


@dataclass(frozen=True)
class Captured:
    """A file of activations and where they come from.

    Parameters
    ----------
    path
        The file.
    source
        One line for logs.
    from_model
        Whether the model ran here; otherwise the file is the committed sample.
    """

    path: Path
    source: str
    from_model: bool


def tokens_for(groups: int, lanes: int = 32) -> int:
    """Tokens that give so many groups of so many lanes, in steps of 16."""
    return -(-groups * lanes // (16 * ELEMENTS_PER_TOKEN)) * 16


def given_activations(path: Path) -> Captured:
    """Activations that `python -m sw.capture` or `captured_activations` wrote before.

    Raises
    ------
    ActivationsError
        The file is none of activations.
    """
    metadata = read_activations(path).metadata
    model = metadata.get("model", "a model that the file does not name")
    text = metadata.get("text", "a text that the file does not name")
    tokens = metadata.get("tokens", "unknown")
    return Captured(path, f"{model} on tokens {tokens} of {text}", from_model=True)


def captured_activations(folder: Path, tokens: int, *, progress: bool = False) -> Captured:
    """Run the default model over the first tokens of the default text, once.

    A second call, also of another process, finds the file of the first.  Where the model cannot be
    had the committed sample is returned and `source` says so.

    Parameters
    ----------
    folder
        Where the file is kept.
    tokens
        Tokens of the text; token 0 is included.
    progress
        Whether to show a progress bar.
    """
    path = folder / f"activations_{tokens}_tokens.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not path.exists():
            try:
                default_model_file()
            except ModelUnavailable as error:
                return Captured(
                    SAMPLE,
                    f"the committed sample, for the language model cannot be had: {error}",
                    from_model=False,
                )
            # Imported where it is needed: it brings the whole of transformers along.
            from sw.capture import capture

            shown = "loading the language model (5 to 20 seconds)"
            with ticking(shown) if progress else contextlib.nullcontext():
                model = load_model()
            activations = capture(
                model, load_text(), layers=LAYERS, tokens=(0, tokens), progress=progress
            )
            activations.write(path)
    return given_activations(path)
