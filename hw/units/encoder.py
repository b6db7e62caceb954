"""Encoder unit: mask in, metadata out."""

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.metadata import create_metadata_code, encode_steps
from hw.metadata.enumerative_serial import SerialRank
from hw.pipeline import Pipeline, Step
from hw.ports import Field, input_payload, output_payload
from hw.units.serial import SerialUnit

__all__ = ["encoder_unit"]


def encoder_unit(config: UnitConfig) -> wiring.Component:
    """Metadata of a mask with exactly N ones.

    For any other mask ``o_meta`` is unspecified but defined, and the handshake is unaffected.
    Latency, throughput, stalls and reset: `hw.pipeline.Pipeline`; if serial, those of
    `hw.units.serial.SerialUnit`.
    """
    inputs, outputs = input_payload(config), output_payload(config)
    if config.serial:
        width = config.metadata_width
        finish = Step(lambda _, bundle: {"meta": bundle["rank"]}, {"meta": width}, ("rank",), 0)
        return SerialUnit(
            inputs=inputs,
            outputs=outputs,
            worker=SerialRank(n=config.n, m=config.m, width=width),
            feed=lambda _, payload: {"mask": payload.mask},
            results={"rank": Field("rank", 1, width, "unsigned")},
            steps=[finish],
            stages=config.stages,
        )
    return Pipeline(
        inputs=inputs,
        outputs=outputs,
        steps=encode_steps(create_metadata_code(config)),
        stages=config.stages,
    )
