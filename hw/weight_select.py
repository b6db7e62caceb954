"""Factors of the dot product of a PE: the kept values and the weights of their lanes."""

from amaranth.hdl import Module

from hw.config import UnitConfig
from hw.logic import named
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Step
from hw.slots import gather

__all__ = ["factor_steps"]


def factor_steps(config: UnitConfig) -> list[Step]:
    """Steps from ``values``, ``meta`` and ``weights`` to ``first``, ``second`` and ``error``.

    Slot k multiplies with one of M - N + 1 weights, since only lanes k .. k + M - N can fill it.
    """
    weight_width = config.weight_format.width

    def choose(m: Module, bundle: Bundle) -> Bundle:
        weights = gather(bundle["select"], bundle["weights"], config.n)
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
