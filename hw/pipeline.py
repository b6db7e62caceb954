"""Valid/ready pipelines: a unit is a list of combinational steps, cut by registers.

A step maps named values to named values; all others pass by.  A pipeline of K stages places K - 1
register stages between steps, so that the longest run of gates between registers is as short as it
can be, and one at the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.handshake import cheapest_handshake
from hw.logic import split
from hw.ports import Field

__all__ = ["Bundle", "Pipeline", "Step", "payload_layout", "place_cuts", "side_by_side"]

#: What is alive between two steps: by name, a list of elements.  A port is such a
#: list, element 0 in its lowest bits.
Bundle = dict[str, list[Value]]


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

    def beside(self, other: "Step", *, consumes: tuple[str, ...]) -> "Step":
        """One step that does what both do, which read the same values.

        Parameters
        ----------
        other
            Must make other values.
        consumes
            What neither of them leaves to later steps.
        """

        def compute(m: Module, bundle: Bundle) -> Bundle:
            return self.compute(m, bundle) | other.compute(m, bundle)

        levels = max(self.levels, other.levels)
        return Step(compute, {**self.produces, **other.produces}, consumes, levels)


#: What a path that starts at a register, not at an input, loses to it, in two-input gates.
LAUNCH_LEVELS = 5


def place_cuts(
    levels: Sequence[int], widths: Sequence[int], count: int, launch: int = 0
) -> list[int]:
    """Places of `count` register stages between steps.

    Cut b stands after step b.  Of all choices with the smallest maximum of summed levels between
    registers, those with the fewest register bits; of these the most even one.

    Parameters
    ----------
    levels
        Depth of each step.
    widths
        Bits alive after each step but the last.
    count
        Number of cuts, at most ``len(levels) - 1``.
    launch
        Levels that every run but the first has more.

    Returns
    -------
    list of int
        `count` places in ascending order.
    """
    last = len(levels)

    def span(start: int, stop: int) -> int:
        return sum(levels[start:stop]) + (launch if start else 0)

    spans = {span(i, j) for i in range(last) for j in range(i + 1, last + 1)} or {0}

    for limit in sorted(spans):

        @cache
        def best(
            start: int, cuts: int, limit: int = limit
        ) -> tuple[int, int, tuple[int, ...]] | None:
            """Fewest bits, least imbalance, and the cuts, of steps `start`.. with `cuts` left."""
            if cuts == 0:
                length = span(start, last)
                return (0, length**2, ()) if length <= limit else None
            options = []
            for cut in range(start, last - cuts):
                length = span(start, cut + 1)
                if length > limit:
                    break
                rest = best(cut + 1, cuts - 1)
                if rest is not None:
                    bits, imbalance, others = rest
                    options.append((widths[cut] + bits, length**2 + imbalance, (cut, *others)))
            return min(options, default=None)

        found = best(0, count)
        if found is not None:
            return list(found[-1])
    return []


def side_by_side(parts: Mapping[str, Sequence[Step]]) -> list[Step]:
    """Steps of several parts at once, each in a module of its own.

    A part sees as ``x`` what is ``<its name>.x`` here, and no other part's values.

    Parameters
    ----------
    parts
        Steps of each part by its name, an identifier.
    """

    def merge(number: int, active: Mapping[str, Step]) -> Step:
        def compute(m: Module, bundle: Bundle) -> Bundle:
            result: Bundle = {}
            for name, step in active.items():
                part = Module()
                m.submodules[f"{name}_step{number}"] = part
                own = {
                    key.removeprefix(f"{name}."): values
                    for key, values in bundle.items()
                    if key.startswith(f"{name}.")
                }
                made = step.compute(part, own)
                result |= {f"{name}.{key}": made[key] for key in step.produces}
            return result

        return Step(
            compute,
            {
                f"{n}.{key}": bits
                for n, step in active.items()
                for key, bits in step.produces.items()
            },
            tuple(f"{n}.{key}" for n, step in active.items() for key in step.consumes),
            max(step.levels for step in active.values()),
        )

    longest = max(len(steps) for steps in parts.values())
    return [
        merge(number, {n: steps[number] for n, steps in parts.items() if number < len(steps)})
        for number in range(longest)
    ]


class Pipeline(wiring.Component):
    """Steps between two streams, with K register stages.

    Latency K cycles; one transfer a cycle when nothing stalls; up to K groups inside while the
    output stalls.  `i.ready` depends combinationally on `o.ready`.  How the stages hold what they
    hold is the smaller of the two ways in `hw.handshake`.  With K = 0 everything is combinational.
    Reset empties all stages; the payload registers have no reset.

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
        cuts, inner_bits = self._cuts()
        output_bits = len(Cat(self.o.payload[name] for name in self._outputs))
        if self._stages:
            way = cheapest_handshake(inner_bits, output_bits, self._stages)
            handshake = way(m, self.i, self.o, self._stages)
        else:
            m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]

        bundle = {
            name: split(m, name, self.i.payload[name], [field.width] * field.count)
            for name, field in self._inputs.items()
        }
        stage = 0
        for position, step in enumerate(self._steps):
            produced = step.compute(m, bundle)
            bundle = {name: bundle[name] for name in bundle if name not in step.consumes}
            bundle |= {name: produced[name] for name in step.produces}
            if position in cuts:
                bundle = {
                    name: handshake.register(stage, name, alive) for name, alive in bundle.items()
                }
                stage += 1

        # The last stage, and those for which no place between steps was left, hold the outputs.
        result = {name: bundle[name] for name in self._outputs}
        for k in range(stage, self._stages):
            result = {name: handshake.register(k, name, values) for name, values in result.items()}
        for name, elements in result.items():
            m.d.comb += self.o.payload[name].eq(Cat(elements))
        return m

    def _cuts(self) -> tuple[list[int], int]:
        """Steps after which a register stage stands, the last stage apart; bits of those stages."""
        alive = {name: len(self.i.payload[name]) for name in self._inputs}
        widths = []
        for step in self._steps[:-1]:
            alive = {name: alive[name] for name in alive if name not in step.consumes}
            alive |= step.produces
            widths.append(sum(alive.values()))
        levels = [step.levels for step in self._steps]
        count = min(max(self._stages - 1, 0), len(widths))
        cuts = place_cuts(levels, widths, count, LAUNCH_LEVELS)
        left_over = max(self._stages - 1, 0) - len(cuts)
        output_bits = sum(len(self.o.payload[name]) for name in self._outputs)
        return cuts, sum(widths[cut] for cut in cuts) + left_over * output_bits
