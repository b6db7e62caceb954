"""A unit that works several cycles on a transfer while its source holds it."""

from collections.abc import Callable, Mapping, Sequence

from amaranth.hdl import Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import Pipeline, Step, payload_layout
from hw.ports import Field

__all__ = ["SerialUnit"]


class SerialUnit(wiring.Component):
    """A worker that takes several cycles, and a pipeline that goes on from its results.

    The worker looks at the payload while its source holds it: `i.ready` is low until the result is
    there, so that no register holds the payload.  One transfer every `worker.cycles` + 1 cycles
    when nothing stalls.  Latency, counted from the transfer: that of the pipeline, K cycles.  Reset
    gives up the work and empties the pipeline.

    Parameters
    ----------
    inputs, outputs
        Content of the two payloads.
    worker
        Has ``run``, ``release`` and ``done``, as `hw.selectors.threshold_serial` says, ports for
        what it needs, and for each of `results`.
    feed
        What the worker's ports get, by their names, of the payload.
    results
        Ports of the worker that go on into the pipeline.
    passed
        Names of the inputs that go on with them.
    steps
        From results and passed inputs to the outputs.
    stages
        K.
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, Field],
        outputs: Mapping[str, Field],
        worker: wiring.Component,
        feed: Callable[[Module, data.View], Mapping[str, Value]],
        results: Mapping[str, Field],
        passed: Sequence[str] = (),
        steps: Sequence[Step] = (),
        stages: int,
    ) -> None:
        self._worker = worker
        self._feed = feed
        self._results = tuple(results)
        self._rest = Pipeline(
            inputs={**{name: inputs[name] for name in passed}, **results},
            outputs=outputs,
            steps=steps,
            stages=stages,
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
        m.submodules.worker = worker = self._worker
        m.submodules.rest = rest = self._rest
        fed = self._feed(m, self.i.payload)
        m.d.comb += [
            *(getattr(worker, name).eq(value) for name, value in fed.items()),
            worker.run.eq(self.i.valid),
            worker.release.eq(rest.i.ready & worker.done),
            rest.i.valid.eq(self.i.valid & worker.done),
            self.i.ready.eq(rest.i.ready & worker.done),
            *(
                rest.i.payload[name].eq(
                    getattr(worker, name) if name in self._results else self.i.payload[name]
                )
                for name in rest.i.payload.shape().members
            ),
            self.o.valid.eq(rest.o.valid),
            self.o.payload.eq(rest.o.payload),
            rest.o.ready.eq(self.o.ready),
        ]
        return m
