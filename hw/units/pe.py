"""Sparse dot-product PE: packed activations and dense weights in, one sum a reduction out."""

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.dot_products import dot_product_units
from hw.ports import input_payload
from hw.units.chain import Chain
from hw.units.gathering_pe import GatheringPe
from hw.weight_select import factor_steps

__all__ = ["pe_unit"]


def pe_unit(config: UnitConfig) -> wiring.Component:
    """Sparse dot product of N packed activations with the weights of their lanes, accumulated.

    ``o_sum`` = sum over the groups of a reduction of ``sum_k value_k * weight[lane_k]``, where
    lane_k is the k-th kept lane of the group's metadata; ``i_last`` ends the reduction.  How sums
    are limited or rounded: `hw.dot_products`.  ``o_error`` is 1 iff the metadata of any group of
    the reduction was illegal; such a group adds 0.  Without `check` it is 0 and an illegal code
    gives an unspecified sum.

    Latency K cycles from the transfer with ``i_last``; one group a cycle when nothing stalls.  The
    accumulator is one of the K stages; while a result waits in it nothing is taken.  The others cut
    decoding, choosing, multiplying and adding, and what is done to a sum.  Where weights are asked
    for: `hw.units.gathering_pe`.
    """
    if config.weight_select == "gather":
        return GatheringPe(config)
    return Chain(
        dot_product_units(
            config,
            inputs=input_payload(config),
            steps=factor_steps(config),
            stages=config.stages,
        )
    )
