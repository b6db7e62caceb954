from pathlib import Path

import pytest

from sw.model import LanguageModel, load_model
from sw.text import Text


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.sw.tiny_model import save_tiny_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LanguageModel:
    return load_model(str(tiny_folder))


@pytest.fixture(scope="session")
def tiny_text() -> Text:
    from tests.sw.tiny_model import words

    return Text(words(100), "words.txt", "file")


@pytest.fixture(scope="session")
def default_model() -> LanguageModel:
    from sw.model import ModelUnavailable

    try:
        return load_model()
    except ModelUnavailable as error:
        pytest.skip(str(error))
