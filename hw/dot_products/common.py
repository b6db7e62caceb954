"""What the dot products of all kinds of numbers share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Value
from amaranth.lib import data

from hw.config import UnitConfig
from hw.pipeline import Step
from hw.ports import Field

__all__ = ["DotProduct"]


class DotProduct(ABC):
    """How pairs of numbers of one kind are multiplied and added up, in a group and in a reduction.

    Parameters
    ----------
    config
        The PE.
    """

    def __init__(self, config: UnitConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def group_fields(self) -> Mapping[str, Field]:
        """What the accumulator takes of a group, ``error`` and ``last`` among it."""

    @property
    @abstractmethod
    def result_fields(self) -> Mapping[str, Field]:
        """What the accumulator holds of a reduction, ``error`` among it."""

    @property
    @abstractmethod
    def stages_behind(self) -> int:
        """How many of the K register stages stand behind the accumulator."""

    @abstractmethod
    def group_steps(self) -> list[Step]:
        """Steps from ``first`` and ``second``, the factors of the products, to `group_fields`.

        ``error`` and ``last`` are there already.
        """

    @abstractmethod
    def accumulate(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> Mapping[str, Sequence[Value]]:
        """Registers that hold `result_fields`, see `hw.reduction`."""

    @abstractmethod
    def result_steps(self) -> list[Step]:
        """Steps from `result_fields` to ``sum`` and ``error``."""
