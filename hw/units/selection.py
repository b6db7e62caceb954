"""What selector and sparsifier share: a selection between two streams."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import UnitConfig
from hw.keys import key_step
from hw.pipeline import Pipeline, Step, payload_layout
from hw.ports import Field, input_payload, output_payload
from hw.selectors import create_selector
from hw.selectors.threshold_serial import ThresholdSerial

__all__ = ["selection_unit"]


def selection_unit(
    config: UnitConfig, *, before: Sequence[Step] = (), after: Sequence[Step] = ()
) -> wiring.Component:
    """A unit that scores lanes, selects, and goes on from the mask.

    Latency, throughput, stalls and reset are those of `hw.pipeline.Pipeline`; with the serial
    selector those of `SerialUnit`.  An input register is one more stage in front of either.

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
        unit = SerialUnit(config, inputs=inputs, outputs=outputs, keys=keys, steps=after)
    else:
        unit = Pipeline(
            inputs=inputs,
            outputs=outputs,
            steps=[keys, *before, *create_selector(config).steps(), *after],
            stages=config.stages,
        )
    return InputRegister(inputs, unit) if config.input_register else unit


class SerialUnit(wiring.Component):
    """A bit-serial selector, and a pipeline that goes on from its mask.

    The selector looks at the group while its source holds it: `i.ready` is low until the mask is
    there, so that no register holds the group.  One group every `ThresholdSerial.cycles` + 1 cycles
    when nothing stalls.  Latency, counted from the transfer: that of the pipeline, K cycles.  Reset
    gives up the group in work and empties the pipeline.

    Parameters
    ----------
    config
        The unit.
    inputs, outputs
        Content of the two payloads.
    keys
        The step from the payload to ``keys``.
    steps
        From ``mask`` to the outputs.
    """

    def __init__(
        self,
        config: UnitConfig,
        *,
        inputs: Mapping[str, Field],
        outputs: Mapping[str, Field],
        keys: Step,
        steps: Sequence[Step],
    ) -> None:
        self._config = config
        self._inputs = dict(inputs)
        self._keys = keys
        # What only the keys need goes no further.
        passed = {name: field for name, field in inputs.items() if name not in keys.consumes}
        self._rest = Pipeline(
            inputs={**passed, "mask": Field("lane", config.m, 1, "bit")},
            outputs=outputs,
            steps=steps,
            stages=config.stages,
        )
        super().__init__(
            {
                "i": In(stream.Signature(payload_layout(inputs))),
                "o": Out(stream.Signature(payload_layout(outputs))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        config = self._config
        m.submodules.search = search = ThresholdSerial(
            n=config.n, m=config.m, key_width=config.key_width
        )
        m.submodules.rest = rest = self._rest
        width = config.format.width
        data = self.i.payload["data"]
        lanes = [data[start : start + width] for start in range(0, config.m * width, width)]
        m.d.comb += [
            search.keys.eq(Cat(self._keys.compute(m, {"data": lanes})["keys"])),
            search.run.eq(self.i.valid),
            search.release.eq(rest.i.ready & search.done),
            rest.i.valid.eq(self.i.valid & search.done),
            self.i.ready.eq(rest.i.ready & search.done),
            *(
                rest.i.payload[name].eq(search.mask if name == "mask" else self.i.payload[name])
                for name in rest.i.payload.shape().members
            ),
            self.o.valid.eq(rest.o.valid),
            self.o.payload.eq(rest.o.payload),
            rest.o.ready.eq(self.o.ready),
        ]
        return m


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
