"""Writing files so that none is ever left half-written."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_files"]


def write_files(contents: Mapping[Path, str | bytes]) -> None:
    """Write all files or none: each to a temporary file beside its place, then rename.

    Missing folders are made.  Text is written as UTF-8.

    Raises
    ------
    OSError
        A file cannot be written; no file of the mapping was changed unless the renaming itself
        failed midway.
    """
    temporary: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            temporary[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
        # mkstemp makes private files; give them the mode that open() would have given.
        mask = os.umask(0)
        os.umask(mask)
        for path, written in temporary.items():
            written.chmod(0o666 & ~mask)
            written.replace(path)
    finally:
        for written in temporary.values():
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
