"""Valid/ready pipelines: a unit is a list of combinational steps, cut by registers.

A step maps named values to named values; all others pass by.  A pipeline of K stages places K - 1
register stages between steps, so that the longest run of gates between registers is as short as it
can be, and one at the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.ports import Field

__all__ = ["Bundle", "Pipeline", "Step", "any_of", "named", "payload_layout", "place_cuts"]

#: What is alive between two steps: by name, a list of elements of one width.  A port is such a
#: list, element 0 in its lowest bits.
Bundle = dict[str, list[Value]]


def any_of(values: Sequence[Value]) -> Value:
    """Bitwise or of all values, as a balanced tree."""
    values = list(values)
    while len(values) > 1:
        values = [reduce(or_, values[i : i + 2]) for i in range(0, len(values), 2)]
    return values[0]


def payload_layout(fields: Mapping[str, Field]) -> data.StructLayout:
    """Layout of a stream's payload: one flat vector for each port."""
    return data.StructLayout({name: field.count * field.width for name, field in fields.items()})


@dataclass(frozen=True)
class Step:
    """A combinational step between two places where registers may stand.

    Parameters
    ----------
    compute
        Makes the new values from the living ones; may add statements to the module.  It returns
        signals or parts of signals: an element with gates in it would be built again wherever it
        is read.
    produces
        Bits of each new value, all elements together.
    consumes
        Names of the values that no later step needs.
    levels
        Estimated depth in two-input gates; decides where registers go.
    """

    compute: Callable[[Module, Bundle], Bundle]
    produces: Mapping[str, int]
    consumes: tuple[str, ...] = ()
    levels: int = 1


def named(m: Module, name: str, value: Value) -> Signal:
    """A signal of that name that holds the value."""
    signal = Signal(value.shape(), name=name)
    m.d.comb += signal.eq(value)
    return signal


def _split(m: Module, name: str, vector: Value, width: int) -> list[Value]:
    """The elements of a vector, element 0 lowest, each a signal.

    Amaranth takes a slice of a slice apart bit by bit, the whole vector each time it is read.
    """
    starts = range(0, len(vector), width)
    return [named(m, f"{name}{k}", vector[i : i + width]) for k, i in enumerate(starts)]


def place_cuts(levels: Sequence[int], widths: Sequence[int], count: int) -> list[int]:
    """Places of `count` register stages between steps.

    Cut b stands after step b.  Of all choices with the smallest maximum of summed levels between
    registers, the one with the fewest register bits.

    Parameters
    ----------
    levels
        Depth of each step.
    widths
        Bits alive after each step but the last.
    count
        Number of cuts, at most ``len(levels) - 1``.

    Returns
    -------
    list of int
        `count` places in ascending order.
    """
    last = len(levels)
    spans = {sum(levels[i:j]) for i in range(last) for j in range(i + 1, last + 1)} or {0}

    for limit in sorted(spans):

        @cache
        def best(start: int, cuts: int, limit: int = limit) -> tuple[int, tuple[int, ...]] | None:
            """Fewest bits, and the cuts, of steps `start`.. with `cuts` cuts left."""
            if cuts == 0:
                return (0, ()) if sum(levels[start:]) <= limit else None
            options = []
            for cut in range(start, last - cuts):
                if sum(levels[start : cut + 1]) > limit:
                    break
                rest = best(cut + 1, cuts - 1)
                if rest is not None:
                    options.append((widths[cut] + rest[0], (cut, *rest[1])))
            return min(options, default=None)

        found = best(0, count)
        if found is not None:
            return list(found[1])
    return []


class Pipeline(wiring.Component):
    """Steps between two streams, with K register stages.

    Latency K cycles; one transfer a cycle when nothing stalls.  Each stage holds its own valid bit
    and takes a new payload when it is empty or its content moves on, so bubbles close up while the
    output stalls; `i.ready` depends combinationally on `o.ready` through the K valid bits.  With
    K = 0 everything is combinational.  Reset clears the valid bits; the payload registers have no
    reset.

    Parameters
    ----------
    inputs, outputs
        Content of the two payloads.  After the last step the values alive must include all of
        `outputs`.
    steps
        In order of data flow.
    stages
        K.

    Members
    -------
    i : In(stream)
        Input stream.
    o : Out(stream)
        Output stream.
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, Field],
        outputs: Mapping[str, Field],
        steps: Sequence[Step],
        stages: int,
    ) -> None:
        self._inputs = dict(inputs)
        self._outputs = tuple(outputs)
        self._steps = tuple(steps)
        self._stages = stages
        super().__init__(
            {
                "i": In(stream.Signature(payload_layout(inputs))),
                "o": Out(stream.Signature(payload_layout(outputs))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        # Handshake: stage k is entered when it is empty or its content moves on.
        valid = [
            self.i.valid,
            *(Signal(name=f"stage{k}_valid") for k in range(1, self._stages)),
        ]
        if self._stages:
            valid.append(self.o.valid)
        else:
            m.d.comb += self.o.valid.eq(self.i.valid)
        ready = [Signal(name=f"stage{k}_ready") for k in range(self._stages)] + [self.o.ready]
        m.d.comb += self.i.ready.eq(ready[0])
        enable = []
        for k in range(self._stages):
            m.d.comb += ready[k].eq(~valid[k + 1] | ready[k + 1])
            with m.If(ready[k]):
                m.d.sync += valid[k + 1].eq(valid[k])
            enable.append(Signal(name=f"stage{k}_enable"))
            m.d.comb += enable[k].eq(valid[k] & ready[k])

        def register(k: int, name: str, elements: list[Value]) -> list[Value]:
            """The elements as stage k holds them."""
            joined = Cat(elements)
            held = Signal(len(joined), reset_less=True, name=f"stage{k}_{name}")
            with m.If(enable[k]):
                m.d.sync += held.eq(joined)
            return _split(m, held.name, held, len(elements[0]))

        cuts = self._cuts()
        bundle = {
            name: _split(m, name, self.i.payload[name], field.width)
            for name, field in self._inputs.items()
        }
        stage = 0
        for position, step in enumerate(self._steps):
            produced = step.compute(m, bundle)
            bundle = {name: bundle[name] for name in bundle if name not in step.consumes}
            bundle |= {name: produced[name] for name in step.produces}
            if position in cuts:
                bundle = {name: register(stage, name, alive) for name, alive in bundle.items()}
                stage += 1

        # The last stage, and those for which no place between steps was left, hold the outputs.
        result = {name: bundle[name] for name in self._outputs}
        for k in range(stage, self._stages):
            result = {name: register(k, name, elements) for name, elements in result.items()}
        for name, elements in result.items():
            m.d.comb += self.o.payload[name].eq(Cat(elements))
        return m

    def _cuts(self) -> list[int]:
        """Steps after which a register stage stands, the last stage apart."""
        alive = {name: len(self.i.payload[name]) for name in self._inputs}
        widths = []
        for step in self._steps[:-1]:
            alive = {name: alive[name] for name in alive if name not in step.consumes}
            alive |= step.produces
            widths.append(sum(alive.values()))
        levels = [step.levels for step in self._steps]
        return place_cuts(levels, widths, min(max(self._stages - 1, 0), len(widths)))
