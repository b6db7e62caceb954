"""Factors of the dot product of a PE: the kept values and the weights of their lanes."""

from amaranth.hdl import Module

from hw.config import UnitConfig
from hw.logic import named
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Step
from hw.slots import gather, gather_by_residue

__all__ = ["factor_steps"]


#: From so many lanes more than slots on a choice in two levels is smaller (docs/pe.md).
TWO_LEVELS = 10
RADIX = 6


def factor_steps(config: UnitConfig) -> list[Step]:
    """Steps from ``values``, ``meta`` and ``weights`` to ``first``, ``second`` and ``error``.

    Slot k multiplies with one of M - N + 1 weights, since only lanes k .. k + M - N can fill it.
    """
    weight_width = config.weight_format.width

    def choose(m: Module, bundle: Bundle) -> Bundle:
        if config.m - config.n < TWO_LEVELS:
            weights = gather(bundle["select"], bundle["weights"], config.n)
        else:
            weights = gather_by_residue(m, bundle["select"], bundle["weights"], config.n, RADIX)
        return {
            "first": bundle["values"],
            "second": [named(m, f"weight{k}", weight) for k, weight in enumerate(weights)],
        }

    return [
        *create_metadata_code(config).read_select(check=config.check),
        Step(
            choose,
            {"first": config.n * config.format.width, "second": config.n * weight_width},
            ("values", "select", "weights"),
            levels=2 + config.m.bit_length(),
        ),
    ]
