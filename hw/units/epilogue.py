"""Epilogue unit: what is done to the sum of a PE."""

from collections.abc import Mapping

from amaranth.hdl import Module
from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.floats import add_steps, integer_to_float_steps, multiply_steps
from hw.formats import FP32
from hw.pipeline import Bundle, Pipeline, Step, side_by_side
from hw.ports import input_payload, output_payload

__all__ = ["epilogue_steps", "epilogue_unit"]


def epilogue_unit(config: UnitConfig) -> wiring.Component:
    """``o_result`` of a sum: see `sw.epilogue`.

    Three multipliers and two adders, after a converter where the sums are integers.  Latency K
    cycles; one result a cycle when nothing stalls.
    """
    return Pipeline(
        inputs=input_payload(config),
        outputs=output_payload(config),
        steps=epilogue_steps(config),
        stages=config.stages,
    )


def epilogue_steps(config: UnitConfig) -> list[Step]:
    """Steps from the unit's input to its output."""
    total = "sum"
    scaled: list[Step] = []
    if config.format.kind == "int":
        total = "number"
        scaled = integer_to_float_steps(
            config.acc_width, FP32, operand="sum", result=total, count=1
        )
    scaled += multiply_steps(FP32, operands=(total, "ratio"), result="restored", count=1)
    scaled += multiply_steps(FP32, operands=("restored", "gain"), result="scaled", count=1)
    offset = multiply_steps(FP32, operands=("shift", "row_sum"), result="returned", count=1)
    offset += add_steps(FP32, operands=("returned", "bias"), result="offset", count=1)
    parts = {"scaled": scaled, "offset": offset}
    inputs = {"scaled": ("sum", "ratio", "gain"), "offset": ("shift", "row_sum", "bias")}
    widths = {name: field.width for name, field in input_payload(config).items()}
    widths |= {f"{part}.{part}": FP32.width for part in parts}
    return [
        _renamed({name: f"{part}.{name}" for part in parts for name in inputs[part]}, widths),
        *side_by_side(parts),
        _renamed({f"{part}.{part}": part for part in parts}, widths),
        *add_steps(FP32, operands=("scaled", "offset"), result="result", count=1),
    ]


def _renamed(names: Mapping[str, str], widths: Mapping[str, int]) -> Step:
    """A step without logic that gives values other names."""

    def compute(_: Module, bundle: Bundle) -> Bundle:
        return {new: bundle[old] for old, new in names.items()}

    produces = {new: widths[old] for old, new in names.items()}
    return Step(compute, produces, tuple(names), levels=0)
