"""Which lane each slot takes: the k-th kept lane, counted from 0, goes to slot k.

Slot k can only come from lanes k .. k + M - N, since k lanes are kept and at most M - N dropped
before it.  ``select`` holds for each slot one bit for each of those M - N + 1 lanes: bit
``k*(M-N+1) + o`` is set iff lane k + o is kept and o lanes before it are dropped.  Where the number
kept is chosen at run time, N is here the least of them.
"""

from amaranth.hdl import Cat, Const, Module, Value

from hw.logic import any_of, named
from hw.pipeline import Bundle, Step

__all__ = [
    "ResidueGather",
    "SlotSelect",
    "gather",
    "gather_by_residue",
    "kept_lanes",
    "meetings",
    "scatter",
]


def gather(select: list[Value], elements: list[Value], n: int) -> list[Value]:
    """For each slot the element of the lane that `select` names; 0 where it names none."""
    window = len(select) // n
    if window == 1 and len(elements) == n:
        # Every lane is kept.
        return list(elements)
    return [
        any_of(
            [
                elements[slot + offset] & select[slot * window + offset].replicate(len(elements[0]))
                for offset in range(min(window, len(elements) - slot))
            ]
        )
        for slot in range(n)
    ]


class ResidueGather:
    """The same as `gather`, in two levels.

    The element of slot k, o lanes above it, first moves down by o modulo `radix` lanes, then by the
    rest.  After the first move no two of them stand in one place, since o never falls from a slot
    to the next; so the first level is one choice among `radix` for each place, not for each slot.
    What both levels take is known from ``select`` alone.

    Parameters
    ----------
    n, m
        Slots and lanes.
    radix
        Elements among which a place chooses; M - N + 1 or more: there is one level only, `gather`.

    Attributes
    ----------
    products
        Bits that say what is taken, each gating one element.
    """

    def __init__(self, *, n: int, m: int, radix: int) -> None:
        window = m - n + 1
        rests = range(0, window, radix)

        def bits(slot: int, rest: int, residue: int) -> list[int]:
            inside = 0 <= slot < n and rest + residue < window
            return [slot * window + rest + residue] if inside else []

        # For each place the elements that it may take, each with the bits of `select` that want it.
        places = [
            {
                place + residue: [b for rest in rests for b in bits(place - rest, rest, residue)]
                for residue in range(min(radix, m - place))
            }
            for place in range(n + rests[-1])
        ]
        places = [{k: b for k, b in taken.items() if b} for taken in places]
        # The same for each slot and the places.
        slots = [
            {
                slot + rest: [b for residue in range(radix) for b in bits(slot, rest, residue)]
                for rest in rests
            }
            for slot in range(n)
        ]
        self._levels = [places] if len(rests) == 1 else [places, slots]
        self.products = sum(len(taken) for level in self._levels for taken in level)

    @classmethod
    def smallest(cls, *, n: int, m: int) -> "ResidueGather":
        """That with the fewest products, of those the one of the fewest levels."""
        radices = range(m - n + 1, 1, -1) if n < m else range(1, 2)
        choices = [cls(n=n, m=m, radix=radix) for radix in radices]
        return min(choices, key=lambda choice: choice.products)

    def takes(self, m: Module, select: list[Value]) -> list[Value]:
        """The bits that say what is taken, level after level."""
        return [
            named(m, f"level{level}_{target}_takes{source}", any_of([select[b] for b in bits]))
            for level, targets in enumerate(self._levels)
            for target, taken in enumerate(targets)
            for source, bits in taken.items()
        ]

    def gather(self, m: Module, takes: list[Value], elements: list[Value]) -> list[Value]:
        """For each slot the element of its lane, of what `takes` gave."""
        width = len(elements[0])
        bits = iter(takes)
        for level, targets in enumerate(self._levels):
            elements = [
                named(
                    m,
                    f"level{level}_{target}",
                    # Nothing where no slot needs the place.
                    any_of([elements[source] & next(bits).replicate(width) for source in taken])
                    if taken
                    else Const(0, width),
                )
                for target, taken in enumerate(targets)
            ]
        return elements


def gather_by_residue(
    m: Module, select: list[Value], elements: list[Value], n: int, radix: int
) -> list[Value]:
    """The same as `gather`, in two levels: `ResidueGather`."""
    choice = ResidueGather(n=n, m=len(elements), radix=radix)
    return choice.gather(m, choice.takes(m, select), elements)


def scatter(select: list[Value], values: list[Value], m: int) -> list[Value]:
    """For each of `m` lanes the value whose slot `select` sends there; 0 where it sends none."""
    window = len(select) // len(values)
    return [
        any_of(
            [
                values[slot] & select[slot * window + lane - slot].replicate(len(values[0]))
                for slot in range(max(0, lane - window + 1), min(lane, len(values) - 1) + 1)
            ]
        )
        for lane in range(m)
    ]


def kept_lanes(select: list[Value], n: int, m: int) -> list[Value]:
    """For each of `m` lanes whether any of `n` slots takes it."""
    window = len(select) // n
    return [
        any_of(
            [
                select[slot * window + lane - slot]
                for slot in range(max(0, lane - window + 1), min(lane, n - 1) + 1)
            ]
        )
        for lane in range(m)
    ]


def meetings(
    m: Module, first: list[Value], second: list[Value], first_n: int, second_n: int
) -> list[Value]:
    """Whether slots of two masks stand for one lane: bit ``k * second_n + l`` of slots k and l.

    Parameters
    ----------
    m
        Takes the logic.
    first, second
        ``select`` of either mask.
    first_n, second_n
        Slots of either.
    """
    windows = len(first) // first_n, len(second) // second_n
    result: list[Value] = []
    for k in range(first_n):
        for slot in range(second_n):
            lanes = range(max(k, slot), min(k + windows[0], slot + windows[1]))
            both = [
                first[k * windows[0] + lane - k] & second[slot * windows[1] + lane - slot]
                for lane in lanes
            ]
            result.append(named(m, f"slot{k}_meets{slot}", any_of(both) if both else Const(0, 1)))
    return result


class SlotSelect:
    """Steps from ``mask`` to ``select`` and ``legal``.

    A walk over the lanes on a lattice: one bit for each number of lanes dropped so far, of which
    one is set; a kept lane leaves it in place, a dropped lane moves it up by one.  With exactly N
    kept lanes the number dropped before a lane also follows from those after it, so one walk goes
    up from lane 0, another down from lane M - 1, and they meet halfway: half the depth for the same
    gates.  They meet in the same place iff the mask has exactly N ones: that is ``legal``.

    About N * (M - N + 1) nodes of three gates; depth M/2 nodes, cut by registers every
    `LANES_PER_STEP` lanes at will.  For an illegal mask ``select`` is unspecified.

    Where the number kept is only known at run time there is but the walk up, of depth M; every mask
    counts as legal, and slots beyond the number kept take no lane.

    The k-th dropped lane, which goes to slot k of the residual, is one of k .. k + N, and the same
    walk finds it: it stands at k when it meets a dropped lane.  ``residual_select`` holds it as
    ``select`` holds the kept ones, N + 1 bits a slot.

    Parameters
    ----------
    n, m
        Slots and lanes.
    least
        Least number of lanes that are kept; None: n, always.
    residual
        Whether ``residual_select`` is wanted.
    """

    LANES_PER_STEP = 4

    def __init__(self, *, n: int, m: int, least: int | None = None, residual: bool = False) -> None:
        self.n = n
        self.m = m
        self._residual = residual
        self._is_exact = least in (None, n)
        self._half = m // 2 if self._is_exact else m
        self._dropped = m - (n if least is None else least)
        #: Bits of one slot in ``select``.
        self.window = self._dropped + 1

    def steps(self, consumes: tuple[str, ...] = ()) -> list[Step]:
        """The walk, `LANES_PER_STEP` lanes from either end a step.

        Parameters
        ----------
        consumes
            Values that nothing after the walk needs, such as ``mask``.
        """
        longest = max(self._half, self.m - self._half)
        starts = range(0, longest, self.LANES_PER_STEP)
        return [
            self._walk(start, min(start + self.LANES_PER_STEP, longest), longest, consumes)
            for start in starts
        ]

    def _nodes(self, lane: int) -> range:
        """Numbers of dropped lanes before this one that a legal mask can have."""
        return range(max(0, lane - self.n), min(lane, self._dropped) + 1)

    def _window(self, lane: int) -> range:
        """Numbers of dropped lanes before this one with which it still finds a slot."""
        return range(max(0, lane - self.n + 1), min(lane, self._dropped) + 1)

    def _residual_window(self, lane: int) -> range:
        """The same for a dropped lane and a slot of the residual."""
        return range(max(0, lane - self.n), min(lane, self._dropped - 1) + 1)

    def _walk(self, start: int, stop: int, longest: int, consumes: tuple[str, ...]) -> Step:
        """Lanes start..stop-1 from either end; the last step joins the two walks."""
        size = self._dropped + 1
        is_last = stop == longest
        walks = ("walk_up", "walk_down") if self._is_exact else ("walk_up",)
        lanes_up = range(start, min(stop, self._half))
        lanes_down = range(self.m - 1 - start, max(self.m - 1 - stop, self._half - 1), -1)

        def compute(m: Module, bundle: Bundle) -> Bundle:
            mask = bundle["mask"]
            up = bundle["walk_up"][0] if start else Const(1, size)
            down: Value = Const(1 << self._dropped, size)
            if start and self._is_exact:
                down = bundle["walk_down"][0]
            result: Bundle = {}

            def advance(
                name: str, lane: int, here: Value, above: Value, nodes: range, before: Value
            ) -> Value:
                """One lane of a walk; notes the slot that the lane takes."""
                kept = mask[lane].replicate(size)
                stay = named(m, f"{name}_kept{lane}", here & kept)
                window = self._window(lane)
                result[f"slot_of_lane{lane}"] = [stay[o] for o in window]
                if self._residual:
                    gone = named(m, f"{name}_dropped{lane}", before & ~kept)
                    places = self._residual_window(lane)
                    result[f"residual_of_lane{lane}"] = [gone[o] for o in places]
                # Places that no legal mask reaches need no gates.
                reachable = Const(sum(1 << o for o in nodes), size)
                return named(m, f"{name}{lane}", (stay | (above & ~kept)) & reachable)

            for lane in lanes_up:
                above = Cat(Const(0, 1), up)[:size]
                up = advance("up", lane, up, above, self._nodes(lane + 1), up)
            for lane in lanes_down:
                above = Cat(down[1:], Const(0, 1))
                down = advance("down", lane, down, above, self._nodes(lane), above)

            if not is_last:
                return {**result, **{name: [up if name == "walk_up" else down] for name in walks}}
            select: list[Value] = []
            for slot in range(self.n):
                for lane in range(slot, slot + size):
                    if lane >= self.m:
                        select.append(Const(0, 1))
                        continue
                    taken = result.get(f"slot_of_lane{lane}") or bundle[f"slot_of_lane{lane}"]
                    select.append(taken[lane - slot - self._window(lane).start])
            legal = (up & down).any() if self._is_exact else Const(1, 1)
            residual: Bundle = {}
            if self._residual:
                noted = {**bundle, **result}
                residual["residual_select"] = [
                    noted[f"residual_of_lane{lane}"][slot - self._residual_window(lane).start]
                    if lane < self.m
                    else Const(0, 1)
                    for slot in range(self._dropped)
                    for lane in range(slot, slot + self.n + 1)
                ]
            return {"select": select, "legal": [named(m, "slots_legal", legal)], **residual}

        levels = 2 * (stop - start)
        notes = {"slot": self._window}
        if self._residual:
            notes["residual"] = self._residual_window
        if is_last:
            earlier = set(range(self.m)).difference(lanes_up, lanes_down)
            spent = (*consumes, *walks, *(f"{n}_of_lane{i}" for n in notes for i in earlier))
            produces = {"select": self.n * size, "legal": 1}
            if self._residual:
                produces["residual_select"] = self._dropped * (self.n + 1)
            return Step(compute, produces, spent, levels + 1)
        produces = {
            f"{note}_of_lane{i}": len(window(i))
            for note, window in notes.items()
            for i in (*lanes_up, *lanes_down)
        }
        return Step(compute, {**produces, **dict.fromkeys(walks, size)}, (), levels)
