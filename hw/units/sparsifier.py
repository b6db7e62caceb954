"""Sparsifier unit: activations in, the kept ones and their metadata out."""

from amaranth.hdl import Const, Module
from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.logic import named
from hw.metadata import remember_pattern, write_metadata
from hw.pipeline import Bundle, Step
from hw.slots import SlotSelect, gather
from hw.units.selection import selection_unit

__all__ = ["sparsifier_unit"]


def sparsifier_unit(config: UnitConfig) -> wiring.Component:
    """The N most important of M activations, packed, with metadata.

    ``o_values`` holds the kept activations in ascending lane order, slot 0 lowest, unchanged to the
    last bit; ``o_meta`` says which lanes they come from; ``o_last`` is the group's ``i_last``.
    With patterns or N at run time the values are packed densely from slot 0, whatever their groups;
    other slots are +0, other bits of ``o_meta`` 0.

    What is kept: `hw.units.selector.selector_unit`.  Latency, throughput, stalls and reset:
    `hw.units.selection.selection_unit`.
    """
    slots, m, width = config.slots, config.m, config.format.width
    residual_slots = config.residual_slots if config.residual else 0

    def pack(module: Module, bundle: Bundle) -> Bundle:
        values = gather(bundle["select"], bundle["data"], slots)
        result: Bundle = {"values": [named(module, f"value{k}", v) for k, v in enumerate(values)]}
        if residual_slots:
            dropped = gather(bundle["residual_select"], bundle["data"], residual_slots)
            result["residual"] = [
                named(module, f"residual{k}", value) for k, value in enumerate(dropped)
            ]
        elif config.residual:
            result["residual"] = [Const(0, 1)]
        return result

    select = SlotSelect(n=slots, m=m, least=config.kept_counts[0], residual=residual_slots > 0)
    levels = 1 + (m - config.kept_counts[0]).bit_length()
    describe, *others = write_metadata(config, window=select.window)
    # What is left of a group after both is its values and what becomes of its metadata.
    spent = (*describe.consumes, "data", "mask", "select", "legal")
    produces = {"values": slots * width}
    if config.residual:
        produces["residual"] = max(1, residual_slots * width)
    if residual_slots:
        spent += ("residual_select",)
    packed = Step(pack, produces, levels=levels).beside(describe, consumes=spent)
    return selection_unit(
        config, before=remember_pattern(config), after=[*select.steps(), packed, *others]
    )
