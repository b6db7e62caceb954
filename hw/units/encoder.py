"""Encoder unit: mask in, metadata out."""

from hw.config import UnitConfig
from hw.metadata import create_metadata_code, encode_steps
from hw.pipeline import Pipeline
from hw.ports import input_payload, output_payload

__all__ = ["EncoderUnit"]


class EncoderUnit(Pipeline):
    """Metadata of a mask with exactly N ones.

    For any other mask ``o_meta`` is unspecified but defined, and the handshake is unaffected.
    Latency, throughput, stalls and reset: `hw.pipeline.Pipeline`.
    """

    def __init__(self, config: UnitConfig) -> None:
        super().__init__(
            inputs=input_payload(config),
            outputs=output_payload(config),
            steps=encode_steps(create_metadata_code(config)),
            stages=config.stages,
        )
