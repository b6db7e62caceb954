"""What selector and sparsifier share: a selection between two streams."""

from collections.abc import Sequence

from amaranth.lib import wiring

from hw.config import SHIFTED, UnitConfig
from hw.pipeline import Pipeline, Step
from hw.ports import Field, input_payload, output_payload
from hw.scores import score_steps
from hw.selectors import create_selector
from hw.selectors.threshold_serial import ThresholdSerial
from hw.shift import shift_steps
from hw.units.chain import Chain
from hw.units.serial import SerialUnit

__all__ = ["selection_unit"]


def selection_unit(
    config: UnitConfig, *, before: Sequence[Step] = (), after: Sequence[Step] = ()
) -> wiring.Component:
    """A unit that scores lanes, selects, and goes on from the mask.

    Latency, throughput, stalls and reset are those of `hw.pipeline.Pipeline`; with the serial
    selector those of `hw.units.serial.SerialUnit`.  An input register is one more stage in front of
    either.

    Parameters
    ----------
    config
        The unit.
    before
        Steps before the selection.
    after
        Steps from ``mask`` to the outputs.
    """
    inputs, outputs = input_payload(config), output_payload(config)
    # What only the scores need goes no further.
    spent = () if after else ("data",)
    shift: list[Step] = []
    if config.shift in SHIFTED:
        shift = shift_steps(config.format, lanes=config.m)
    score = [
        *shift,
        *score_steps(config.score, config.m, width=config.key_width, consumes=spent),
    ]
    chain: dict[str, wiring.Component] = {}
    if config.input_register:
        chain["register"] = Pipeline(inputs=inputs, outputs=inputs, steps=(), stages=1)
    if config.is_serial:
        consumed = {name for step in score for name in step.consumes} - {"keys"}
        passed = {name: field for name, field in inputs.items() if name not in consumed}
        keys = {"keys": Field("lane", config.m, config.key_width, "unsigned")}
        chain["score"] = Pipeline(inputs=inputs, outputs={**passed, **keys}, steps=score, stages=0)
        chain["unit"] = SerialUnit(
            inputs={**passed, **keys},
            outputs=outputs,
            worker=ThresholdSerial(n=config.n, m=config.m, key_width=config.key_width),
            feed=lambda _, payload: {"keys": payload["keys"]},
            results={"mask": Field("lane", config.m, 1, "bit")},
            passed=tuple(passed),
            steps=after,
            stages=config.stages,
        )
    else:
        chain["unit"] = Pipeline(
            inputs=inputs,
            outputs=outputs,
            steps=[*score, *before, *create_selector(config).steps(), *after],
            stages=config.stages,
        )
    return Chain(chain) if len(chain) > 1 else chain["unit"]
