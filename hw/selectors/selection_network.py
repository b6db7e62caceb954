"""Selection network: comparators exchange keys until the N greatest are on their own side."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.hdl import Const, Module, Mux, Value

from hw.comparators import majority_not_less
from hw.logic import named
from hw.networks import selection_network
from hw.pipeline import Bundle, Step
from hw.selectors.common import Selector
from hw.selectors.compare_matrix import keep_all

__all__ = ["SelectionNetwork"]


@dataclass(frozen=True)
class _Lines:
    """What the lines of the network hold between two layers.

    Parameters
    ----------
    keys
        Lines whose key a later comparator reads, in ascending order.
    origins
        Lanes whose key may be on each line.
    """

    keys: tuple[int, ...]
    origins: tuple[frozenset[int], ...]

    def fixed(self, line: int, bit: int) -> int | None:
        """A bit of the number of the lane on a line, if it is the same for all that may be."""
        values = {lane >> bit & 1 for lane in self.origins[line]}
        return values.pop() if len(values) == 1 else None


class SelectionNetwork(Selector):
    """Small selector: a comparator network separates the N greatest keys from the others.

    A comparator of lines i and j compares ``{key, ~lane}`` of both, so that the lower lane wins a
    tie, and exchanges them unless line i's is the greater.  At the end lines 0 to N-1 hold the keys
    that are kept.  Nothing but keys and the numbers of their lanes moves; then the mask goes back
    the same way, one bit a line: lines 0 to N-1 start with 1, the others with 0, and what was
    exchanged on the way there is exchanged again.

    Of the numbers of lanes only those bits are built that are not the same for all lanes whose keys
    may be on a line, which leaves none in the first layers; of keys, only those that a later
    comparator reads, so that a comparator of the last layer only gives its verdict.

    Area about C * (2 key_width + 2) multiplexers and C * key_width majority gates for the C
    comparators of `hw.networks.selection_network`: 4 at 2:4, 14 at 4:8, 43 at 8:16 and 136 at
    16:32.  Depth about 2 log2(key_width) + 4 gates for each of its 2, 4, 9 and 11 layers, and one
    multiplexer a layer for the way back.  Any number of register stages, between any two layers of
    either way; the verdicts wait in registers for the mask to come back.

    Parameters
    ----------
    shallow
        Whether the network with the fewest layers is taken and not that with the fewest
        comparators: at 8:16, 46 comparators in 7 layers.
    """

    def __init__(
        self, *, n: int, m: int, key_width: int, stages: int = 1, shallow: bool = False
    ) -> None:
        super().__init__(n=n, m=m, key_width=key_width, stages=stages)
        self._layers = selection_network(n, m, shallow=shallow)
        self._lane_bits = (m - 1).bit_length()

    def steps(self) -> list[Step]:
        """The layers forwards, keys and verdicts; the layers backwards, the mask."""
        if not self._layers:
            return [keep_all(self.m)]
        lines = self._lines()
        numbers = range(len(self._layers))
        return [
            *(self._forwards(number, lines[number], lines[number + 1]) for number in numbers),
            *(self._backwards(number) for number in reversed(numbers)),
        ]

    def _lines(self) -> list[_Lines]:
        """What the lines hold before each layer and after the last."""
        origins = [tuple(frozenset([lane]) for lane in range(self.m))]
        for layer in self._layers:
            following = list(origins[-1])
            for i, j in layer:
                following[i] = following[j] = following[i] | following[j]
            origins.append(tuple(following))
        read: list[set[int]] = [set()]
        for layer in reversed(self._layers):
            read.append(read[-1] | {line for pair in layer for line in pair})
        return [
            _Lines(tuple(sorted(keys)), lanes)
            for keys, lanes in zip(reversed(read), origins, strict=True)
        ]

    def _forwards(self, number: int, before: _Lines, after: _Lines) -> Step:
        """One layer: ``stays<number>`` is 1 where line i's key is the greater already."""

        def compute(m: Module, bundle: Bundle) -> Bundle:
            # The first layer gets the keys of all lanes.
            lines = before.keys if number else range(self.m)
            keys = dict(zip(lines, bundle["keys"], strict=True))
            bits = self._places(before)
            lanes = dict(zip(bits, bundle["lanes"] if bits else (), strict=True))

            def lane_bit(line: int, bit: int) -> Value:
                fixed = before.fixed(line, bit)
                return lanes[line, bit] if fixed is None else Const(fixed, 1)

            new_keys = dict(keys)
            new_lanes = {(line, bit): lane_bit(line, bit) for line, bit in self._places(after)}
            verdicts = []
            for i, j in self._layers[number]:
                name = f"layer{number}_{i}_{j}"
                lower = self._lower(m, name, before, i, j, lane_bit)
                verdict = majority_not_less(m, f"{name}_compare", keys[i], keys[j], lower)
                stays = named(m, f"{name}_stays", verdict)
                verdicts.append(stays)
                for line, other in ((i, j), (j, i)):
                    if line in after.keys:
                        new_keys[line] = named(
                            m, f"layer{number}_key{line}", Mux(stays, keys[line], keys[other])
                        )
                    for bit in range(self._lane_bits):
                        if (line, bit) in new_lanes:
                            new_lanes[line, bit] = named(
                                m,
                                f"layer{number}_lane{line}_{bit}",
                                Mux(stays, lane_bit(line, bit), lane_bit(other, bit)),
                            )
            produced = {
                "keys": [new_keys[line] for line in after.keys],
                "lanes": list(new_lanes.values()),
                f"stays{number}": verdicts,
            }
            return {name: values for name, values in produced.items() if values}

        widths = {
            "keys": len(after.keys) * self.key_width,
            "lanes": len(self._places(after)),
            f"stays{number}": len(self._layers[number]),
        }
        return Step(
            compute,
            {name: width for name, width in widths.items() if width},
            tuple(name for name in ("keys", "lanes") if not widths[name]),
            levels=2 * self.key_width.bit_length() + 4,
        )

    def _places(self, lines: _Lines) -> list[tuple[int, int]]:
        """(line, bit) of the bits of lanes' numbers that are built."""
        return [
            (line, bit)
            for line in lines.keys
            for bit in range(self._lane_bits)
            if lines.fixed(line, bit) is None
        ]

    def _lower(
        self,
        m: Module,
        name: str,
        lines: _Lines,
        i: int,
        j: int,
        lane_bit: Callable[[int, int], Value],
    ) -> Value:
        """Whether the lane on line i is below that on line j, which decides ties."""
        if max(lines.origins[i]) < min(lines.origins[j]):
            return Const(1, 1)
        if max(lines.origins[j]) < min(lines.origins[i]):
            return Const(0, 1)
        lower: Value = Const(0, 1)
        for bit in range(self._lane_bits):
            first, second = lane_bit(i, bit), lane_bit(j, bit)
            lower = Mux(first ^ second, second, lower)
        return named(m, f"{name}_lower", lower)

    def _backwards(self, number: int) -> Step:
        """One layer of the way back: the mask as it was before it."""
        is_last = number == len(self._layers) - 1

        def compute(m: Module, bundle: Bundle) -> Bundle:
            kept = [Const(line < self.n, 1) for line in range(self.m)]
            mask = list(kept if is_last else bundle["mask"])
            for (i, j), stays in zip(self._layers[number], bundle[f"stays{number}"], strict=True):
                mask[i], mask[j] = (
                    named(m, f"back{number}_{i}", Mux(stays, mask[i], mask[j])),
                    named(m, f"back{number}_{j}", Mux(stays, mask[j], mask[i])),
                )
            return {"mask": mask}

        return Step(compute, {"mask": self.m}, (f"stays{number}",), levels=2)
