"""Factors of the dot product of a PE: kept values, and the weights of their lanes."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Value

from hw.config import UnitConfig
from hw.logic import any_of, named
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Step, side_by_side
from hw.slots import gather, gather_by_residue, kept_lanes, meetings, scatter

__all__ = ["factor_steps"]

#: With so many lanes to choose from, a choice in two levels is smaller (docs/pe.md).
_TWO_LEVELS = 11
_RADIX = 6


def choose(m: Module, select: list[Value], weights: list[Value], n: int) -> list[Value]:
    """The weight of each slot's lane."""
    if len(select) // n < _TWO_LEVELS:
        return gather(select, weights, n)
    return gather_by_residue(m, select, weights, n, _RADIX)


def choose_where(meeting: list[Value], elements: list[Value]) -> list[Value]:
    """For each slot the element whose bit is 1, of as many bits as elements; 0 without one."""
    size = len(elements)
    return [
        any_of(
            [
                element & bit.replicate(len(element))
                for element, bit in zip(elements, meeting[start : start + size], strict=True)
            ]
        )
        for start in range(0, len(meeting), size)
    ]


def factor_steps(config: UnitConfig) -> list[Step]:
    """Steps from ``values``, ``meta`` and ``weights`` to ``first``, ``second`` and ``error``.

    ``mux``: slot k multiplies with one of M - N + 1 weights, since only lanes k .. k + M - N can
    fill it.  ``dense-skip``: every lane has a multiplier; of a dropped lane both factors are 0.
    """
    if config.weights is not None:
        return packed_factor_steps(config)
    n, m_lanes = config.n, config.m

    def slots(m: Module, bundle: Bundle) -> Bundle:
        weights = choose(m, bundle["select"], bundle["weights"], n)
        return {
            "first": bundle["values"],
            "second": [named(m, f"weight{k}", weight) for k, weight in enumerate(weights)],
        }

    def lanes(m: Module, bundle: Bundle) -> Bundle:
        if n == m_lanes:
            return {"first": bundle["values"], "second": bundle["weights"]}
        values = scatter(bundle["select"], bundle["values"], m_lanes)
        kept = kept_lanes(bundle["select"], n, m_lanes)
        return {
            "first": [named(m, f"value{j}", value) for j, value in enumerate(values)],
            "second": [
                named(m, f"weight{j}", weight & bit.replicate(len(weight)))
                for j, (weight, bit) in enumerate(zip(bundle["weights"], kept, strict=True))
            ],
        }

    choice = lanes if config.weight_select == "dense-skip" else slots
    return [
        *create_metadata_code(config).read_select(check=config.check),
        _factors(config, choice, ("values", "select", "weights")),
    ]


def _factors(
    config: UnitConfig, compute: Callable[[Module, Bundle], Bundle], consumes: tuple[str, ...]
) -> Step:
    """The step that makes the factors."""
    count = config.multiplier_count
    widths = {"first": config.format.width, "second": config.weight_format.width}
    return Step(
        compute,
        {name: count * width for name, width in widths.items()},
        consumes,
        levels=2 + config.m.bit_length(),
    )


def packed_factor_steps(config: UnitConfig) -> list[Step]:
    """The same from ``values``, ``meta``, ``weights`` and ``weight_meta``, both sides packed.

    The side that keeps fewer lanes has the multipliers, and each of its slots chooses what the
    other one has in its lane:

    - where that keeps all lanes, as among all weights;
    - with few lanes, among its slots, by whether they stand for the same lane;
    - with many lanes, among all lanes, over which it is spread, a dropped one 0.

    Since infinity times 0 is no 0, floating-point numbers take along whether the other side has
    kept the lane.
    """
    values_lead = config.n <= config.of_weights.n
    is_float = config.format.kind == "float"
    sides = {"values": config, "weights": config.of_weights}
    leading, other = sides if values_lead else reversed(sides)
    is_sparse = sides[other].n < config.m
    by_slots = is_sparse and config.m - sides[leading].n + 1 < _TWO_LEVELS

    def rename(_: Module, bundle: Bundle) -> Bundle:
        return {"values.meta": bundle["meta"], "weights.meta": bundle["weight_meta"]}

    def meet(m: Module, bundle: Bundle) -> Bundle:
        own, others = bundle[f"{leading}.select"], bundle[f"{other}.select"]
        return {"meeting": meetings(m, own, others, sides[leading].n, sides[other].n)}

    def choose_factors(m: Module, bundle: Bundle) -> Bundle:
        elements, own = bundle[other], bundle[leading]
        width = len(elements[0])
        if is_sparse and is_float:
            elements = [Cat(element, Const(1, 1)) for element in elements]
        if by_slots:
            found = choose_where(bundle["meeting"], elements)
        else:
            if is_sparse:
                spread = scatter(bundle[f"{other}.select"], elements, config.m)
                elements = [named(m, f"{other}{lane}", value) for lane, value in enumerate(spread)]
            found = choose(m, bundle[f"{leading}.select"], elements, len(own))
        chosen = [named(m, f"chosen{slot}", value) for slot, value in enumerate(found)]
        if len(chosen[0]) > width:
            own = [
                named(m, f"{leading}_met{slot}", mine & there[width].replicate(len(mine)))
                for slot, (mine, there) in enumerate(zip(own, chosen, strict=True))
            ]
            chosen = [there[:width] for there in chosen]
        names = ("first", "second") if values_lead else ("second", "first")
        return dict(zip(names, (own, chosen), strict=True))

    def join_errors(m: Module, bundle: Bundle) -> Bundle:
        wrong = [bundle[f"{side}.error"][0] for side in sides]
        return {"error": [named(m, "wrong_code", any_of(wrong))]}

    selects = tuple(f"{side}.select" for side in sides)
    slots = sides[leading].n * sides[other].n
    meeting = Step(meet, {"meeting": slots}, selects, levels=1 + config.m.bit_length())
    return [
        Step(
            rename,
            {f"{side}.meta": one.metadata_width for side, one in sides.items()},
            ("meta", "weight_meta"),
            levels=0,
        ),
        *side_by_side(
            {
                side: create_metadata_code(one).read_select(check=config.check)
                for side, one in sides.items()
            }
        ),
        *([meeting] if by_slots else []),
        _factors(
            config,
            choose_factors,
            ("values", "weights", *(["meeting"] if by_slots else selects)),
        ),
        Step(join_errors, {"error": 1}, tuple(f"{side}.error" for side in sides), levels=1),
    ]
