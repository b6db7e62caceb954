"""Codes of the metadata: one function each way, one signature, one file each."""

from hw.config import UnitConfig
from hw.metadata.bitmap import Bitmap
from hw.metadata.common import MetadataCode
from hw.metadata.index import Index

__all__ = ["MetadataCode", "create_metadata_code"]

_CODES: dict[str, type[MetadataCode]] = {"bitmap": Bitmap, "index": Index}


def create_metadata_code(config: UnitConfig) -> MetadataCode:
    """The code that the configuration asks for."""
    code = _CODES[config.metadata]
    return code(n=config.n, m=config.m, index_width=config.index_width)
