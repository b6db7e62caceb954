"""Command lines run inside of the test."""

from collections.abc import Callable, Sequence

import pytest

#: Arguments to exit status, standard output and standard error.
Run = Callable[..., tuple[int, str, str]]


def runner(
    main: Callable[[Sequence[str]], int], options: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs a command with some options first; later ones win."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([*options, *arguments])
        except SystemExit as stop:
            status = int(str(stop.code))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
