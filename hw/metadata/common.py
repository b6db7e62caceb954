"""What all codes of the metadata share."""

from abc import ABC, abstractmethod

from hw.pipeline import Step

__all__ = ["MetadataCode"]


class MetadataCode(ABC):
    """One code of the metadata: the steps that write and read it.

    Parameters
    ----------
    n, m
        Pattern.
    """

    #: Whether writing needs ``select`` (see `hw.slots`) beside ``mask``.
    writes_from_select: bool

    def __init__(self, *, n: int, m: int) -> None:
        self.n = n
        self.m = m

    @abstractmethod
    def write(self) -> list[Step]:
        """Steps from ``mask`` (and ``select``) to ``meta``; only the first of them reads these."""

    @abstractmethod
    def read_mask(self) -> list[Step]:
        """Steps from ``meta`` to ``mask`` and ``error``: 1 and an all-zero mask if illegal."""

    @abstractmethod
    def read_select(self, *, check: bool) -> list[Step]:
        """Steps from ``meta`` to ``select`` and ``error``.

        For an illegal code ``select`` is unspecified.  Without `check` ``error`` is 0.
        """
