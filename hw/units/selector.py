"""Selector unit: activations in, mask out."""

from hw.config import UnitConfig
from hw.keys import key_step
from hw.pipeline import Pipeline
from hw.ports import input_payload, output_payload
from hw.selectors import create_selector

__all__ = ["SelectorUnit"]


class SelectorUnit(Pipeline):
    """Mask of the N largest magnitudes of M lanes; the lower lane wins a tie.

    Bit j of ``o_mask`` is 1 iff fewer than N lanes beat lane j (see `hw.selectors.Selector`).
    Exactly N bits are 1; with patterns at run time, as many as the pattern in force keeps of each of
    its groups side by side; with N at run time, ``i_n``.  A pattern that is not in the list, and an
    N of 0 or more than M, keep no lane.  Latency, throughput, stalls and reset: `hw.pipeline.Pipeline`.
    """

    def __init__(self, config: UnitConfig) -> None:
        super().__init__(
            inputs=input_payload(config),
            outputs=output_payload(config),
            steps=[
                key_step(
                    config.format, config.m, key_width=config.key_width, consumes=("data",)
                ),
                *create_selector(config).steps(),
            ],
            stages=config.stages,
        )
