import hashlib
import platform
from pathlib import Path

import pytest

from sw.errors import InputError
from sw.text import load_text


def test_default_is_the_documentation_of_this_python() -> None:
    text = load_text()
    assert text.name == f"pydoc topics of CPython {platform.python_version()}"
    assert text.source == "pydoc"
    assert len(text.content) > 100_000
    assert 'The "assert" statement' in text.content
    assert text == load_text()
    assert text.sha256 == hashlib.sha256(text.content.encode()).hexdigest()


def test_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "greek.txt"
    content = "αβγ\r\nδ\n".encode()
    path.write_bytes(content)
    text = load_text(path)
    assert text.content == "αβγ\r\nδ\n"
    assert text.name == "greek.txt"
    assert text.source == "file"
    assert text.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "text must be a file that can be read, not {path!r} (No such file or directory)"),
        (b"", "text must hold more than white space, not {path!r}"),
        (b" \n\t", "text must hold more than white space, not {path!r}"),
        (b"ab\xff", "text must be UTF-8, not {path!r} with the byte 0xff at 2"),
    ],
)
def test_wrong_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_text(path)
    assert str(caught.value) == message.format(path=str(path))


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_text(tmp_path)
    assert str(caught.value) == (
        f"text must be a file that can be read, not {str(tmp_path)!r} (Is a directory)"
    )
