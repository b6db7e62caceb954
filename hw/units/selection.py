"""What selector and sparsifier share: a selection between two streams."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data, wiring

from hw.config import UnitConfig
from hw.keys import key_step
from hw.pipeline import Pipeline, Step
from hw.ports import Field, input_payload, output_payload
from hw.selectors import create_selector
from hw.selectors.threshold_serial import ThresholdSerial
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
    is_mask_only = not after
    keys = key_step(
        config.format,
        config.m,
        key_width=config.key_width,
        consumes=("data",) if is_mask_only else (),
    )
    unit: wiring.Component
    if config.is_serial:
        # What only the keys need goes no further.
        passed = [name for name in inputs if name not in keys.consumes]
        unit = SerialUnit(
            inputs=inputs,
            outputs=outputs,
            worker=ThresholdSerial(n=config.n, m=config.m, key_width=config.key_width),
            feed=lambda m, payload: {
                "keys": Cat(keys.compute(m, {"data": _lanes(config, payload)})["keys"])
            },
            results={"mask": Field("lane", config.m, 1, "bit")},
            passed=passed,
            steps=after,
            stages=config.stages,
        )
    else:
        unit = Pipeline(
            inputs=inputs,
            outputs=outputs,
            steps=[keys, *before, *create_selector(config).steps(), *after],
            stages=config.stages,
        )
    return InputRegister(inputs, unit) if config.input_register else unit


def _lanes(config: UnitConfig, payload: data.View) -> list[Value]:
    width = config.format.width
    return [payload["data"][start : start + width] for start in range(0, config.m * width, width)]


class InputRegister(wiring.Component):
    """A unit behind a register stage: its source is free again after one cycle.

    Parameters
    ----------
    inputs
        Content of the unit's input payload.
    unit
        The unit.
    """

    def __init__(self, inputs: Mapping[str, Field], unit: wiring.Component) -> None:
        self._unit = unit
        self._stage = Pipeline(inputs=inputs, outputs=inputs, steps=(), stages=1)
        super().__init__(
            {"i": self._stage.signature.members["i"], "o": unit.signature.members["o"]}
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        m.submodules.register = stage = self._stage
        m.submodules.unit = unit = self._unit
        for target, source in ((stage.i, self.i), (unit.i, stage.o), (self.o, unit.o)):
            m.d.comb += [
                target.valid.eq(source.valid),
                target.payload.eq(source.payload),
                source.ready.eq(target.ready),
            ]
        return m
