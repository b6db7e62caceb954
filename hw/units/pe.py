"""Sparse dot-product PE: packed activations and dense weights in, one sum a reduction out."""

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.dot_products import create_dot_product
from hw.pipeline import Pipeline
from hw.ports import input_payload, output_payload
from hw.reduction import Reduction
from hw.units.chain import Chain
from hw.weight_select import factor_steps

__all__ = ["pe_unit"]


def pe_unit(config: UnitConfig) -> wiring.Component:
    """Sparse dot product of N packed activations with the weights of their lanes, accumulated.

    ``o_sum`` = sum over the groups of a reduction of ``sum_k value_k * weight[lane_k]``, where
    lane_k is the k-th kept lane of the group's metadata; ``i_last`` ends the reduction.  How sums
    are rounded or limited: `hw.dot_products`.  ``o_error`` is 1 iff the metadata of any group of
    the reduction was illegal; such a group adds 0.  Without `check` it is 0 and an illegal code
    gives an unspecified sum.

    Latency K cycles from the transfer with ``i_last``; one group a cycle when nothing stalls.  The
    accumulator is one of the K stages; while a result waits in it nothing is taken.  The others cut
    decoding, choosing, multiplying and adding, and what is done to a sum.
    """
    dot_product = create_dot_product(config)
    behind = dot_product.stages_behind
    units: dict[str, wiring.Component] = {
        "multiply_add": Pipeline(
            inputs=input_payload(config),
            outputs=dot_product.group_fields,
            steps=[*factor_steps(config), *dot_product.group_steps()],
            stages=config.stages - 1 - behind,
        ),
        "accumulate": Reduction(
            inputs=dot_product.group_fields,
            outputs=dot_product.result_fields,
            gather=dot_product.accumulate,
        ),
    }
    steps = dot_product.result_steps()
    if steps:
        units["result"] = Pipeline(
            inputs=dot_product.result_fields,
            outputs=output_payload(config),
            steps=steps,
            stages=behind,
        )
    return Chain(units)
