"""The text that a language model reads while its activations are captured."""

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

from sw.errors import InputError

__all__ = ["Text", "load_text"]


@dataclass(frozen=True)
class Text:
    """A text and where it came from.

    Parameters
    ----------
    content
        The text itself.
    name
        A name without folders: that of the file, or what the default text is.
    source
        ``pydoc`` for the default text, ``file`` for a file.
    """

    content: str
    name: str
    source: str

    @property
    def sha256(self) -> str:
        """Hash of the text in UTF-8; for a file, the hash of the file."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def load_text(path: Path | str | None = None) -> Text:
    r"""Read a text file, or make the default text.

    The default is the topics of Python's own documentation, ``"\n\n".join(topics[key] for key in
    sorted(topics))``: real prose of about 465,000 characters that every CPython brings along.  It
    differs between Python versions, so the version is part of its name, and its hash tells.

    Raises
    ------
    InputError
        The file does not exist, cannot be read, is not UTF-8 or holds only white space.
    """
    if path is None:
        from pydoc_data.topics import topics

        content = "\n\n".join(topics[key] for key in sorted(topics))
        return Text(content, f"pydoc topics of CPython {platform.python_version()}", "pydoc")

    path = Path(path)
    try:
        # Bytes, so that line ends stay what they are and the hash is the file's.
        content = path.read_bytes().decode()
    except OSError as error:
        raise InputError(
            f"text must be a file that can be read, not {str(path)!r} ({error.strerror})"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"text must be UTF-8, not {str(path)!r} with the byte 0x{error.object[error.start]:02x}"
            f" at {error.start}"
        ) from error
    if not content.strip():
        raise InputError(f"text must hold more than white space, not {str(path)!r}")
    return Text(content, path.name, "file")
