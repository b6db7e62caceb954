"""Architectures of the top-N-of-M selector: one function, one signature, one file each."""

from hw.config import UnitConfig
from hw.selectors.common import Selector
from hw.selectors.compare_matrix import CompareMatrix
from hw.selectors.rank_merge import RankMerge
from hw.selectors.run_time import AnyNMatrix, FlexibleMatrix
from hw.selectors.selection_network import SelectionNetwork
from hw.selectors.threshold_search import ThresholdSearch

__all__ = ["Selector", "create_selector"]

_SELECTORS: dict[str, type[Selector]] = {
    "compare_matrix": CompareMatrix,
    "rank_merge": RankMerge,
    "selection_network": SelectionNetwork,
    "threshold_search": ThresholdSearch,
}


def create_selector(config: UnitConfig) -> Selector:
    """The selector that the configuration asks for, unless it is the serial one."""
    if config.flexible:
        return FlexibleMatrix(
            patterns=config.patterns, key_width=config.key_width, stages=config.stages
        )
    selector = AnyNMatrix if config.n_runtime else _SELECTORS[config.resolved_selector]
    return selector(n=config.n, m=config.m, key_width=config.key_width, stages=config.stages)
