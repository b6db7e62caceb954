"""Dot products: one file for each kind of numbers."""

from hw.config import UnitConfig
from hw.dot_products.common import DotProduct
from hw.dot_products.float import FloatDotProduct
from hw.dot_products.integer import IntegerDotProduct

__all__ = ["DotProduct", "create_dot_product"]

_KINDS: dict[str, type[DotProduct]] = {"float": FloatDotProduct, "int": IntegerDotProduct}


def create_dot_product(config: UnitConfig) -> DotProduct:
    """The dot product of the configuration's number formats."""
    return _KINDS[config.format.kind](config)
