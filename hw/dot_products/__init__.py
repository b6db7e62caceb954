"""Dot products: one file for each kind of numbers."""

from collections.abc import Callable, Mapping, Sequence

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.dot_products.common import DotProduct
from hw.dot_products.float import FloatDotProduct
from hw.dot_products.integer import IntegerDotProduct
from hw.pipeline import Pipeline, Step
from hw.ports import Field, output_payload
from hw.reduction import Reduction

__all__ = ["DotProduct", "create_dot_product", "dot_product_units"]

_KINDS: dict[str, Callable[..., DotProduct]] = {"float": FloatDotProduct, "int": IntegerDotProduct}


def create_dot_product(config: UnitConfig, **options: bool) -> DotProduct:
    """The dot product of the configuration's number formats; options are those of its kind."""
    return _KINDS[config.format.kind](config, **options)


def dot_product_units(
    config: UnitConfig,
    *,
    inputs: Mapping[str, Field],
    steps: Sequence[Step],
    stages: int,
    **options: bool,
) -> dict[str, wiring.Component]:
    """Units behind each other that make sums of factors.

    The accumulator is one of the register stages; while a result waits in it nothing is taken.

    Parameters
    ----------
    config
        The PE.
    inputs
        What the first of them takes, ``last`` among it.
    steps
        From there to ``first``, ``second`` and ``error``.
    stages
        Register stages.
    options
        Those of the kind of dot product.
    """
    dot_product = create_dot_product(config, **options)
    behind = dot_product.stages_behind
    units: dict[str, wiring.Component] = {
        "multiply_add": Pipeline(
            inputs=inputs,
            outputs=dot_product.group_fields,
            steps=[*steps, *dot_product.group_steps()],
            stages=stages - 1 - behind,
        ),
        "accumulate": Reduction(
            inputs=dot_product.group_fields,
            outputs=dot_product.result_fields,
            gather=dot_product.accumulate,
        ),
    }
    result_steps = dot_product.result_steps()
    if result_steps:
        units["result"] = Pipeline(
            inputs=dot_product.result_fields,
            outputs=output_payload(config),
            steps=result_steps,
            stages=behind,
        )
    return units
