"""Runs steps of a pipeline as emitted Verilog, one vector a copy, thousands of copies at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.back import verilog
from amaranth.hdl import Cat, Fragment, Module, Signal

from hw.pipeline import Pipeline, Step
from hw.ports import Field
from tests.hw.gates import Gates, Run, from_planes, to_planes

__all__ = ["StepRunner", "check_widths"]

#: Elements and bits of each.
Size = tuple[int, int]


class StepRunner:
    """A pipeline of steps.

    Parameters
    ----------
    steps
        The steps.
    inputs, outputs
        Sizes of what goes in and comes out.
    stages
        Register stages.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        inputs: Mapping[str, Size],
        outputs: Mapping[str, Size],
        stages: int = 0,
    ) -> None:
        fields = [
            {name: Field("lane", count, width, "unsigned") for name, (count, width) in side.items()}
            for side in (inputs, outputs)
        ]
        pipeline = Pipeline(inputs=fields[0], outputs=fields[1], steps=steps, stages=stages)
        text = verilog.convert(pipeline, name="steps", emit_src=False, strip_internal_attrs=True)
        self.gates = Gates(text, "steps")
        self._inputs, self._outputs, self._stages = dict(inputs), dict(outputs), stages

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs (vectors, count) of inputs (vectors, count)."""
        vectors = len(next(iter(inputs.values())))
        planes: list[int] = []
        for name, (_, width) in self._inputs.items():
            planes += to_planes(inputs[name], width)
        run = Run(self.gates, vectors)
        clock = {"clk": 0, "rst": 1} if self._stages else {}
        run.settle(i__valid=1, o__ready=1, i__payload=planes, **clock)
        if self._stages:
            run.clock()
            run.settle(rst=0)
        for _ in range(self._stages):
            assert not run.bit("o__valid")
            run.clock()
            # Nothing but the registers holds the vectors now.
            run.settle(i__payload=0)
        assert run.bit("o__valid")
        bits = from_planes(run["o__payload"], vectors)
        result, start = {}, 0
        for name, (count, width) in self._outputs.items():
            own = bits[:, start : start + count * width].reshape(vectors, count, width)
            result[name] = own @ (1 << np.arange(width))
            start += count * width
        return result


def check_widths(steps: Sequence[Step], inputs: Mapping[str, Size]) -> dict[str, int]:
    """Bits alive at the end; every step must have made and left just what it says."""
    bundle = {
        name: [Signal(width) for _ in range(count)] for name, (count, width) in inputs.items()
    }
    m = Module()
    for step in steps:
        made = step.compute(m, bundle)
        assert {name: len(Cat(values)) for name, values in made.items()} == dict(step.produces)
        assert set(step.consumes) <= set(bundle)
        bundle = {name: bundle[name] for name in bundle if name not in step.consumes} | made
    # A module that nobody elaborates is a warning.
    Fragment.get(m, None)
    return {name: len(Cat(values)) for name, values in bundle.items()}
