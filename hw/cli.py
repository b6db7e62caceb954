"""What the command lines of the project share: one-line errors, exit status 2."""

import argparse
from typing import NoReturn

__all__ = ["CommandParser"]


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on standard error, with exit status 2."""

    def __init__(self, **options: object) -> None:
        options.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print ``<command>: error: <message>`` and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")
