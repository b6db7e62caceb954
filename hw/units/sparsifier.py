"""Sparsifier unit: activations in, the kept ones and their metadata out."""

from amaranth.hdl import Module

from hw.config import UnitConfig
from hw.keys import key_step
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Pipeline, Step, named
from hw.ports import input_payload, output_payload
from hw.selectors import create_selector
from hw.slots import SlotSelect, gather

__all__ = ["SparsifierUnit"]


class SparsifierUnit(Pipeline):
    """The N most important of M activations, packed, with metadata.

    ``o_values`` holds the kept activations in ascending lane order, slot 0 lowest, unchanged to the
    last bit; ``o_meta`` says which lanes they come from; ``o_last`` is the group's ``i_last``.
    What is kept: `hw.units.selector.SelectorUnit`.  Latency, throughput, stalls and reset:
    `hw.pipeline.Pipeline`.
    """

    def __init__(self, config: UnitConfig) -> None:
        n, m, width = config.n, config.m, config.format.width

        def pack(module: Module, bundle: Bundle) -> Bundle:
            values = gather(bundle["select"], bundle["data"], n)
            return {"values": [named(module, f"value{k}", v) for k, v in enumerate(values)]}

        super().__init__(
            inputs=input_payload(config),
            outputs=output_payload(config),
            steps=[
                key_step(config.format, m),
                *create_selector(config).steps(),
                *SlotSelect(n=n, m=m).steps(),
                *create_metadata_code(config).write(),
                Step(
                    pack,
                    {"values": n * width},
                    ("data", "mask", "select", "legal"),
                    levels=1 + (m - n).bit_length(),
                ),
            ],
            stages=config.pipeline,
        )
