"""Registers of a tile for those who write drivers: a C header and a Python class.

Both can be copied away and need nothing else of this project.  `python -m hw.register_files` makes
them.
"""

from pathlib import Path

__all__ = ["HEADER"]

#: The registers in C: one C99 header.
HEADER: Path = Path(__file__).with_name("nm_tile.h")
