"""Readers of the packed stream that can be copied away: one in C, one in NumPy.

Neither needs anything else of this project.
"""

from pathlib import Path

__all__ = ["HEADER"]

#: The reader in C: one C99 header.
HEADER: Path = Path(__file__).with_name("nm_packed.h")
