"""What the commands of this package share: arguments, errors, how a command runs."""

import argparse
import os
import re
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hw.cli import CommandParser
from synth.liberty import LibertyError, Library, read_liberty
from synth.process import SynthesisError

__all__ = [
    "UsageError",
    "check_folder",
    "library_of",
    "list_of",
    "positive",
    "run",
    "whole_numbers",
]


class UsageError(ValueError):
    """Arguments that do not fit together."""


def positive(text: str) -> int:
    """A number of at least 1, as the type of an argument."""
    if not re.fullmatch(r"[0-9]{1,6}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def list_of(choices: Iterable[str], example: str, what: str) -> Callable[[str], list[str]]:
    """The type of an argument with several of some words, each once."""
    known = set(choices)

    def convert(text: str) -> list[str]:
        words = text.split(",")
        if not set(words) <= known:
            raise argparse.ArgumentTypeError(
                f"must be a list such as {example} of {what}, not {text!r}"
            )
        return list(dict.fromkeys(words))

    return convert


def whole_numbers(text: str) -> list[int]:
    """Several numbers, each once, as the type of an argument."""
    if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text):
        raise argparse.ArgumentTypeError(
            f"must be a list of whole numbers such as 0,1,2, not {text!r}"
        )
    return list(dict.fromkeys(map(int, text.split(","))))


def check_folder(option: str, folder: Path) -> None:
    """Raise an error if the folder can be neither made nor written to."""
    for place in (folder, *folder.absolute().parents):
        if place.exists():
            if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
                raise UsageError(
                    f"argument {option}: must be a folder that can be written to, "
                    f"not {str(folder)!r}"
                )
            return


def library_of(path: Path) -> Library:
    """The library of the argument --liberty."""
    try:
        library = read_liberty(path)
        # Needed for every row, so that a library without one is refused at once.
        _ = library.nand2
    except LibertyError as error:
        rule = str(error).removeprefix("liberty ")
        raise UsageError(f"argument --liberty: {rule}") from error
    except OSError as error:
        raise UsageError(
            f"argument --liberty: must be a file that can be read, not {str(path)!r}: "
            f"{error.strerror}"
        ) from error
    return library


def run(
    parser: CommandParser, given: dict[str, Any], action: Callable[[dict[str, Any]], int]
) -> None:
    """Do what the arguments ask for, and end with one line if that fails.

    Parameters
    ----------
    parser
        The command's parser.
    given
        What it parsed.
    action
        Does it and returns the exit status.
    """
    # The mapper runs in a session of its own: without this it would outlive a killed report.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = action(given)
    except (UsageError, SynthesisError) as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
    finally:
        signal.signal(signal.SIGTERM, before)
    if status:
        parser.exit(status)
