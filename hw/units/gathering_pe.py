"""Sparse dot-product PE that asks for the weights of the kept lanes alone."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO

from hw.config import UnitConfig
from hw.dot_products import create_dot_product, dot_product_units
from hw.metadata import read_index
from hw.pipeline import Bundle, Pipeline, Step
from hw.ports import Field, input_payload, input_streams, output_streams
from hw.units.chain import Chain
from hw.units.streams import stream_members

__all__ = ["GatheringPe", "waiting_groups"]


def _group_fields(config: UnitConfig) -> dict[str, Field]:
    """What of a group waits for its weights."""
    payload = input_payload(config)
    error = Field("error", 1, 1, "bit")
    return {"values": payload["values"], "error": error, "last": payload["last"]}


def waiting_groups(config: UnitConfig) -> SyncFIFO:
    """The buffer of groups that wait for their weights."""
    bits = sum(field.count * field.width for field in _group_fields(config).values())
    return SyncFIFO(width=bits, depth=config.outstanding)


class GatheringPe(wiring.Component):
    """A PE whose N of M weights a memory is asked for.

    For every group of stream ``i``, its values, metadata and ``last``, the lanes of its slots leave
    in stream ``o_index``, all 0 if its code is illegal, and the weights of these lanes, in the same
    order of slots and groups, are expected in stream ``i_weights``, N of them for every group.  The
    sums in stream ``o`` are those of every PE.

    The group waits in a buffer of `outstanding` groups, at least a cycle: so many groups may have
    been asked for and not yet answered, which hides a memory's latency of one cycle less.  Of the K
    register stages some are before the buffer, where the metadata is read, and the others behind
    it, the accumulator among them.  A result follows the weights of the group with ``last`` after
    those behind it; with weights that are there a cycle after they have been asked for the latency
    is K + 1 cycles.  One group a cycle when nothing stalls.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        super().__init__(stream_members(config))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        config = self._config
        index = output_streams(config)["o_index"]["index"]
        weights = input_streams(config)["i_weights"]["weights"]
        group = _group_fields(config)
        reading = read_index(config)
        before = self._stages_before(reading)

        m = Module()
        m.submodules.read = read = Pipeline(
            inputs=input_payload(config),
            outputs={"index": index, **group},
            steps=reading,
            stages=before,
        )
        m.submodules.dot_product = dot_product = Chain(
            dot_product_units(
                config,
                inputs={**group, "weights": weights},
                steps=[self._factors()],
                stages=config.stages - before,
            )
        )
        m.submodules.waiting = waiting = waiting_groups(config)
        wiring.connect(m, wiring.flipped(self.i), read.i)
        wiring.connect(m, dot_product.o, wiring.flipped(self.o))

        asks, found = self.o_index, self.i_weights
        m.d.comb += [
            asks.payload["index"].eq(read.o.payload["index"]),
            asks.valid.eq(read.o.valid & waiting.w_rdy),
            read.o.ready.eq(asks.ready & waiting.w_rdy),
            waiting.w_data.eq(Cat(read.o.payload[name] for name in group)),
            waiting.w_en.eq(read.o.valid & asks.ready),
            Cat(dot_product.i.payload[name] for name in group).eq(waiting.r_data),
            dot_product.i.payload["weights"].eq(found.payload["weights"]),
            dot_product.i.valid.eq(found.valid & waiting.r_rdy),
            found.ready.eq(dot_product.i.ready & waiting.r_rdy),
            waiting.r_en.eq(found.valid & dot_product.i.ready),
        ]
        return m

    def _factors(self) -> Step:
        """``first`` and ``second`` are there already."""
        config = self._config

        def compute(_: Module, bundle: Bundle) -> Bundle:
            return {"first": bundle["values"], "second": bundle["weights"]}

        return Step(
            compute,
            {
                "first": config.n * config.format.width,
                "second": config.n * config.weight_format.width,
            },
            ("values", "weights"),
            levels=0,
        )

    def _stages_before(self, reading: list[Step]) -> int:
        """How many of the stages stand before the buffer: its share of the depth."""
        dot_product = create_dot_product(self._config)
        before = sum(step.levels for step in reading)
        behind = sum(step.levels for step in dot_product.group_steps())
        free = self._config.stages - 1 - dot_product.stages_behind
        return round(free * before / (before + behind))
