"""Decompressor unit: packed values and metadata in, dense groups out."""

from amaranth.hdl import Module

from hw.config import UnitConfig
from hw.logic import named
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Pipeline, Step
from hw.ports import input_payload, output_payload
from hw.slots import scatter

__all__ = ["DecompressorUnit"]


class DecompressorUnit(Pipeline):
    """The inverse of the sparsifier: values back in their lanes, +0 where one was dropped.

    Lane j of ``o_data`` is value k if lane j is the k-th kept one of ``i_meta``, counted from 0,
    and +0 if it is not kept.  ``o_last`` is the group's ``i_last``.  A code that no mask has raises
    ``o_error`` for that group, and all of ``o_data`` is +0.

    Latency, throughput, stalls and reset: `hw.pipeline.Pipeline`.
    """

    def __init__(self, config: UnitConfig) -> None:
        window = config.m - config.n + 1

        def gate(m: Module, bundle: Bundle) -> Bundle:
            legal = ~bundle["error"][0]
            bits = enumerate(bundle["select"])
            return {
                "select": [
                    named(m, f"slot{k // window}_to_lane{k // window + k % window}", bit & legal)
                    for k, bit in bits
                ]
            }

        def spread(m: Module, bundle: Bundle) -> Bundle:
            lanes = scatter(bundle["select"], bundle["values"], config.m)
            return {"data": [named(m, f"lane{j}", lane) for j, lane in enumerate(lanes)]}

        super().__init__(
            inputs=input_payload(config),
            outputs=output_payload(config),
            steps=[
                *create_metadata_code(config).read_select(check=True),
                Step(gate, {"select": config.n * window}, (), levels=1),
                Step(
                    spread,
                    {"data": config.m * config.format.width},
                    ("select", "values"),
                    levels=1 + min(config.n, window).bit_length(),
                ),
            ],
            stages=config.stages,
        )
