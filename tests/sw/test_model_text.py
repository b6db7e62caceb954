import argparse
from pathlib import Path

import pytest

from sw.errors import InputError
from sw.model import LanguageModel
from sw.model_text import (
    add_model_and_text,
    check_folder_of,
    load_model_and_text,
    origin,
    origin_options,
    versions,
)
from sw.text import Text, load_text
from tests.sw.tiny_model import words


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_and_text(parser)
    return parser.parse_args(arguments)


def test_loads_what_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "a b.txt"
    file.write_text(words(9))
    model, text = load_model_and_text(parse("--model", str(tiny_folder), "--text", str(file)))
    assert (model.name, text.name) == ("tiny", "a b.txt")
    assert origin_options(model, text) == ["--model tiny", "--text 'a b.txt'"]


def test_default_text(tiny_folder: Path) -> None:
    model, text = load_model_and_text(parse("--model", str(tiny_folder)))
    assert text == load_text()
    assert origin_options(model, text) == ["--model tiny"]


def test_origin(tiny: LanguageModel, tiny_text: Text) -> None:
    assert origin(tiny, tiny_text) == {
        "model": "tiny",
        "model_source": "folder",
        "model_sha256": tiny.sha256,
        "architecture": "LlamaForCausalLM",
        "text": "words.txt",
        "text_sha256": tiny_text.sha256,
        "tokenizer": f"{type(tiny.tokenizer).__name__}, 66 entries, no special tokens added",
    }
    hub = LanguageModel(tiny.model, tiny.tokenizer, "a/b", "hub, revision 1", None)
    assert origin(hub, tiny_text)["model_sha256"] == "unknown"


def test_versions() -> None:
    assert list(versions()) == ["torch", "transformers", "nmsparse"]


def test_folder_that_can_be_made(tmp_path: Path) -> None:
    check_folder_of(tmp_path / "new" / "folder" / "file")
    check_folder_of(tmp_path / "file")


@pytest.mark.parametrize("name", ["folder", "file/below"])
def test_file_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        check_folder_of(tmp_path / name)
    assert str(caught.value) == (
        f"output must be a file that can be written, not {str(tmp_path / name)!r}"
    )
