"""Architectures of the top-N-of-M selector: one function, one signature, one file each."""

from hw.config import UnitConfig
from hw.selectors.common import Selector
from hw.selectors.compare_matrix import CompareMatrix
from hw.selectors.run_time import AnyNMatrix, FlexibleMatrix

__all__ = ["Selector", "create_selector"]

_SELECTORS: dict[str, type[Selector]] = {"compare_matrix": CompareMatrix}


def create_selector(config: UnitConfig) -> Selector:
    """The selector that the configuration asks for."""
    if config.flexible:
        return FlexibleMatrix(patterns=config.patterns, key_width=config.key_width)
    selector = AnyNMatrix if config.n_runtime else _SELECTORS[config.resolved_selector]
    return selector(n=config.n, m=config.m, key_width=config.key_width)
