"""Selector unit: activations in, mask out."""

from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.units.selection import selection_unit

__all__ = ["selector_unit"]


def selector_unit(config: UnitConfig) -> wiring.Component:
    """Mask of the N largest magnitudes of M lanes; the lower lane wins a tie.

    Bit j of ``o_mask`` is 1 iff fewer than N lanes beat lane j (see `hw.selectors.Selector`).
    Exactly N bits are 1; with patterns at run time, as many as the pattern in force keeps of each
    of its groups side by side; with N at run time, ``i_n``.  A pattern that is not in the list, and
    an N of 0 or more than M, keep no lane.

    Latency, throughput, stalls and reset: `hw.units.selection.selection_unit`.
    """
    return selection_unit(config)
