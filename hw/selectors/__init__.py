"""Architectures of the top-N-of-M selector: one function, one signature, one file each."""

from hw.config import UnitConfig
from hw.selectors.common import Selector
from hw.selectors.compare_matrix import CompareMatrix

__all__ = ["Selector", "create_selector"]

_SELECTORS: dict[str, type[Selector]] = {"compare_matrix": CompareMatrix}


def create_selector(config: UnitConfig) -> Selector:
    """The selector that the configuration asks for."""
    selector = _SELECTORS[config.resolved_selector]
    return selector(n=config.n, m=config.m, key_width=config.format.key_width)
