"""Runs the tools of a synthesis, each a process that ends with its caller's interest in it."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

__all__ = ["SynthesisError", "how_it_ended", "log_lines", "run"]

#: How soon a cancelled run ends.
_POLL_SECONDS = 0.5


class SynthesisError(RuntimeError):
    """A tool failed, or what it reports cannot be trusted; the text is one line."""


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    cancel: Event | None = None,
) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File that takes all that the program prints.
    folder
        Where it runs; None: where this process does.
    environment
        Variables beside those of this process.
    cancel
        Another thread may set it to end the run.

    Raises
    ------
    SynthesisError
        It was cancelled.
    """
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            # A group of its own, so that the programs that it starts end with it.
            start_new_session=True,
        ) as process,
    ):
        try:
            return _wait(process, cancel)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _wait(process: subprocess.Popen[bytes], cancel: Event | None) -> int:
    """The exit status of a process, unless the caller loses interest in it."""
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if cancel is not None and cancel.is_set():
                raise SynthesisError("the synthesis was cancelled") from None


def log_lines(log: Path) -> list[str]:
    """Lines of a log that are not empty, without the name of its folder."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
    return [line.replace(f"{log.parent}{os.sep}", "") for line in lines if line]


def how_it_ended(status: int, lines: Sequence[str]) -> str:
    """How a program ended that left no error of its own in its log."""
    if status < 0:
        how = f"was killed by signal {-status} ({signal.strsignal(-status)})"
    else:
        how = f"ended with status {status}"
    return f"{how}; the last line of its log: {lines[-1] if lines else '(none)'}"
