"""Decoder unit: metadata in, mask out."""

from hw.config import UnitConfig
from hw.metadata import create_metadata_code
from hw.pipeline import Pipeline
from hw.ports import input_payload, output_payload

__all__ = ["DecoderUnit"]


class DecoderUnit(Pipeline):
    """Mask of a group's metadata.

    A code that no mask has raises ``o_error`` for that group, and ``o_mask`` is all zero: a bitmap
    with the wrong number of ones; an index of M or more, or indices equal or not ascending.
    Latency, throughput, stalls and reset: `hw.pipeline.Pipeline`.
    """

    def __init__(self, config: UnitConfig) -> None:
        super().__init__(
            inputs=input_payload(config),
            outputs=output_payload(config),
            steps=create_metadata_code(config).read_mask(),
            stages=config.stages,
        )
