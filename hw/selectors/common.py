"""What all selectors share."""

from abc import ABC, abstractmethod

from hw.pipeline import Step

__all__ = ["Selector"]


class Selector(ABC):
    """Top-N-of-M: steps from ``keys`` to ``mask``.

    Lane j is kept iff fewer than N lanes beat it.  Lane i beats lane j iff key i is greater than
    key j, or they are equal and i < j: the lower lane wins a tie, and exactly N lanes are kept.

    Parameters
    ----------
    n, m
        Pattern.
    key_width
        Bits of one key.
    stages
        Register stages of the unit around it, for which it may be built in another way.
    """

    def __init__(self, *, n: int, m: int, key_width: int, stages: int = 1) -> None:
        self.n = n
        self.m = m
        self.key_width = key_width
        self.stages = stages

    @abstractmethod
    def steps(self) -> list[Step]:
        """Steps from ``keys`` (M keys, lane 0 lowest) to ``mask`` (bit j: lane j is kept)."""
