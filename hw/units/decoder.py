"""Decoder unit: metadata in, mask out."""

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.metadata import create_metadata_code
from hw.metadata.enumerative_serial import SerialUnrank
from hw.pipeline import Pipeline
from hw.ports import input_payload, output_payload
from hw.units.serial import SerialUnit

__all__ = ["decoder_unit"]


def decoder_unit(config: UnitConfig) -> wiring.Component:
    """Mask of a group's metadata.

    A code that no mask has raises ``o_error`` for that group, and ``o_mask`` is all zero: a bitmap
    with the wrong number of ones; an index of M or more, or indices equal or not ascending; a rank
    of C(M, N) or more.  Latency, throughput, stalls and reset: `hw.pipeline.Pipeline`; if serial,
    those of `hw.units.serial.SerialUnit`.
    """
    inputs, outputs = input_payload(config), output_payload(config)
    if config.serial:
        return SerialUnit(
            inputs=inputs,
            outputs=outputs,
            worker=SerialUnrank(n=config.n, m=config.m, width=config.metadata_width),
            feed=lambda _, payload: {"rank": payload.meta},
            results=outputs,
            stages=config.stages,
        )
    return Pipeline(
        inputs=inputs,
        outputs=outputs,
        steps=create_metadata_code(config).read_mask(),
        stages=config.stages,
    )
