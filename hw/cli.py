"""What the command lines of the project share: one-line errors, exit status 2."""

import argparse
import re
from typing import NoReturn

__all__ = ["CommandParser", "parse_patterns"]


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on standard error, with exit status 2."""

    def __init__(self, **options: object) -> None:
        options.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print ``<command>: error: <message>`` and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def parse_patterns(text: str) -> list[tuple[int, int]]:
    """Different patterns such as 2:4,4:8, as the type of an argument."""
    patterns = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", part)
        if match is None:
            raise argparse.ArgumentTypeError(
                f"must be a list of patterns N:M such as 2:4,4:8,8:16,16:32, not {text!r}"
            )
        patterns.append((int(match[1]), int(match[2])))
    if len(set(patterns)) < len(patterns):
        raise argparse.ArgumentTypeError(f"must be different patterns, not {text!r}")
    return patterns
