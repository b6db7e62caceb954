"""Codes of the metadata: one function each way, one signature, one file each."""

from hw.config import UnitConfig
from hw.metadata.bitmap import Bitmap
from hw.metadata.common import MetadataCode
from hw.metadata.index import Index
from hw.metadata.run_time import run_time_index
from hw.pipeline import Step

__all__ = ["MetadataCode", "create_metadata_code", "remember_pattern", "write_metadata"]

_CODES: dict[str, type[MetadataCode]] = {"bitmap": Bitmap, "index": Index}


def create_metadata_code(config: UnitConfig) -> MetadataCode:
    """The code that the configuration asks for."""
    code = _CODES[config.metadata]
    return code(n=config.n, m=config.m, index_width=config.index_width)


def write_metadata(config: UnitConfig, *, window: int) -> list[Step]:
    """Steps of a sparsifier from ``mask`` and ``select`` to ``meta``.

    Parameters
    ----------
    config
        The sparsifier.
    window
        Lanes that one slot's part of ``select`` has room for.
    """
    if config.metadata == "index" and (config.flexible or config.n_runtime):
        return [
            run_time_index(
                # With N at run time, one group with a slot for every lane.
                patterns=((config.slots, config.m),) if config.n_runtime else config.patterns,
                lanes=config.m,
                width=config.metadata_width,
                window=window,
            )
        ]
    return create_metadata_code(config).write()


def remember_pattern(config: UnitConfig) -> list[Step]:
    """Steps that keep ``pattern`` as ``listed``, where `write_metadata` needs it."""
    if not config.flexible or config.metadata != "index" or len(config.patterns) == 1:
        return []
    return [
        Step(
            lambda _, bundle: {"listed": bundle["pattern"]},
            {"listed": config.pattern_width},
            levels=0,
        )
    ]
