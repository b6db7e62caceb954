"""What ``--selector auto`` and ``--pipeline auto`` stand for: the best of what was measured.

The table beside this file, `measured_selectors.json`, is written by
``python -m synth.report selectors`` (see docs/selectors.md).  Of a pattern, or a width of keys,
that is not in the table the nearest one counts.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["TABLE", "Measured", "choose", "serial_cycles"]

#: The table.
TABLE = Path(__file__).with_name("measured_selectors.json")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one selector unit with valid/ready costs.

    Parameters
    ----------
    selector
        Name of the architecture.
    n, m
        Pattern.
    key_width
        Bits of a key.
    pipeline
        Register stages.
    interval
        Cycles from one group to the next.
    area
        In square micrometres.
    delay
        Shortest period of the clock in nanoseconds.
    """

    selector: str
    n: int
    m: int
    key_width: int
    pipeline: int
    interval: int
    area: float
    delay: float

    @property
    def cost(self) -> float:
        """The inverse of the density: area and time that one group takes."""
        return self.area * self.delay * self.interval


#: What each goal makes as small as can be.
_GOALS: dict[str, Callable[[Measured], float]] = {
    "area": lambda row: row.area,
    "delay": lambda row: row.delay,
    "density": lambda row: row.cost,
}


@cache
def table() -> tuple[Measured, ...]:
    """All rows of the table."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["rows"]
    return tuple(Measured(**row) for row in rows)


def choose(
    *,
    n: int,
    m: int,
    key_width: int,
    goal: str,
    selectors: Sequence[str],
    pipeline: int | None,
) -> tuple[str, int]:
    """Architecture and register stages that reach the goal best.

    Parameters
    ----------
    n, m
        Pattern.
    key_width
        Bits of a key.
    goal
        ``area``, ``delay`` or ``density``.  Only ``area`` takes a selector that needs several
        cycles for a group, where there are others.
    selectors
        Architectures to choose from.
    pipeline
        Register stages; None: any but 0, the best for the goal.
    """
    if len(selectors) == 1 and pipeline is not None:
        return selectors[0], pipeline
    rows = [row for row in table() if row.selector in selectors]
    if goal != "area":
        rows = [row for row in rows if row.interval == 1] or rows
    if not rows:
        return selectors[0], 1 if pipeline is None else pipeline

    def distance(row: Measured) -> tuple[float, float, int]:
        """How far a row's function is from what is asked for: size, share kept, key."""
        return (
            max(row.m, m) / min(row.m, m),
            abs(row.n / row.m - n / m),
            abs(row.key_width - key_width),
        )

    nearest = min(map(distance, rows))
    rows = [row for row in rows if distance(row) == nearest]
    if pipeline is None:
        rows = [row for row in rows if row.pipeline] or rows
    else:
        stages = min({row.pipeline for row in rows}, key=lambda k: abs(k - pipeline))
        rows = [row for row in rows if row.pipeline == stages]
    best = min(rows, key=_GOALS[goal])
    return best.selector, best.pipeline if pipeline is None else pipeline


def serial_cycles(*, m: int, key_width: int, bits_per_cycle: int = 1) -> int:
    """Cycles that the serial selector searches: see `hw.selectors.threshold_serial`.

    The bits of the key and then those of the lane's number, so many of them a cycle.  One more
    cycle, in which the result leaves, makes the interval.
    """
    return -(-(key_width + (m - 1).bit_length()) // bits_per_cycle)
