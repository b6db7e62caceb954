"""Tile behind AXI: activations, weights and results as AXI4-Stream, registers behind AXI4-Lite."""

from collections.abc import Mapping
from dataclasses import replace

from amaranth.hdl import ClockDomain, DomainRenamer, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi import LITE_SIGNALS
from hw.axi_lite import RegisterFile
from hw.beats import Collect, Spread
from hw.config import UnitConfig
from hw.flat import FlatUnit, instance
from hw.ports import ports
from hw.registers import TILE_REGISTERS
from hw.units.scale_memory import ScaleMemoryUnit
from hw.units.tile import TileUnit

__all__ = ["AxiTileUnit", "register_counts"]

#: Version of the map of the registers, and what it begins with.
VERSION, MAGIC = 1, 0x4E4D

#: Bits of the number of reductions that are under way: more than there are stages.
_OPEN_WIDTH = 8


def register_counts(config: UnitConfig) -> dict[str, int]:
    """How many a unit has of the registers that not all have."""
    scale_bits = config.m * config.scale.width if config.scale else 0
    has_scales = int(config.scale is not None)
    return {
        "pattern": int(config.flexible is not None),
        "shift": int(config.shift == "static"),
        "scale_tokens": has_scales,
        "scale_push": has_scales,
        "scale_word": -(-scale_bits // 32),
    }


class AxiTileUnit(FlatUnit):
    """A tile with streams of narrow beats and registers.

    Activations and weights are collected from beats, sums are sent in beats, the lowest bits first
    (`hw.beats`).  A reduction ends with the step whose last beat has TLAST, or after ``length``
    steps.  What the registers are: `hw.registers`.

    Latency from the last beat with TLAST to the first beat of the results, if the weights come at
    the same time: `UnitConfig.latency_cycles`.  Steps can be taken in every `initiation_interval`
    cycles.

    Attributes
    ----------
    parts
        The tile, an instance of a module of its own.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        self._tile_config = replace(
            config, unit="tile", word=UnitConfig.word, name=f"{config.top}_tile"
        )
        self._tile = TileUnit(self._tile_config)
        directions = {"input": In, "output": Out}
        super().__init__(
            {port.name: directions[port.direction](port.width) for port in ports(config)}
        )

    @property
    def parts(self) -> Mapping[str, wiring.Component]:
        """The units inside, by the names of their modules."""
        return {self._tile_config.top: self._tile}

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        config = self._config
        # Registers stay when the tile is emptied.
        m.domains.bus = bus = ClockDomain("bus")
        m.domains.sync = sync = ClockDomain("sync")
        registers = RegisterFile(TILE_REGISTERS, register_counts(config))
        m.submodules.registers = DomainRenamer("bus")(registers)
        m.d.comb += [
            bus.clk.eq(self.aclk),
            bus.rst.eq(~self.aresetn),
            sync.clk.eq(self.aclk),
            sync.rst.eq(~self.aresetn | registers.control_reset),
        ]
        for name, (direction, _) in LITE_SIGNALS.items():
            inside, outside = getattr(registers, name), getattr(self, f"s_axi_{name}")
            m.d.comb += inside.eq(outside) if direction == "input" else outside.eq(inside)
        m.d.comb += [
            registers.id_version.eq(VERSION),
            registers.id_magic.eq(MAGIC),
            registers.pattern_shape_n.eq(config.n),
            registers.pattern_shape_m.eq(config.m),
            registers.pattern_shape_patterns.eq(len(config.patterns)),
            registers.tile_shape_rows.eq(config.rows),
            registers.tile_shape_cols.eq(config.cols),
            registers.formats_data_width.eq(config.format.width),
            registers.formats_weight_width.eq(config.weight_format.width),
            registers.formats_sum_width.eq(config.sum_width),
            registers.formats_scale_width.eq(config.scale.width if config.scale else 0),
        ]
        tile = instance(m, "tile", self._tile_config.top, self._tile)
        activations = self._collect(m, registers, "activations", config.stream_bits("data"))
        weights = self._collect(m, registers, "weights", config.stream_bits("weights"))
        m.d.comb += [
            tile.w.valid.eq(weights.o.valid),
            weights.o.ready.eq(tile.w.ready),
            tile.w.payload.weights.eq(weights.o.payload.data),
        ]
        step, opens = self._steps(m, registers, tile, activations)
        closes = self._results(m, registers, tile)

        under_way = Signal(_OPEN_WIDTH)
        waiting = ~(activations.is_empty & weights.is_empty)
        m.d.sync += under_way.eq(under_way + opens - closes)
        m.d.comb += registers.status_busy.eq(under_way.any() | waiting)
        for name, counted in (
            ("steps", step),
            ("results", closes),
            ("cycles", registers.status_busy),
        ):
            count = Signal(32, name=f"{name}_count")
            m.d.comb += getattr(registers, f"{name}_value").eq(count)
            with m.If(counted):
                m.d.sync += count.eq(count + 1)
        return m

    def _collect(self, m: Module, registers: RegisterFile, name: str, bits: int) -> Collect:
        """The beats of an input stream as payloads."""
        collect = Collect(bits, self._config.word)
        m.submodules[name] = collect
        enable = registers.control_enable

        def port(signal: str) -> Value:
            return getattr(self, f"s_axis_{name}_{signal}")

        m.d.comb += [
            collect.i.valid.eq(port("tvalid") & enable),
            port("tready").eq(collect.i.ready & enable),
            collect.i.payload.data.eq(port("tdata")),
        ]
        # That of the weights says nothing: they go on with the activations.
        if name == "activations":
            m.d.comb += collect.i.payload.last.eq(port("tlast"))
        return collect

    def _steps(
        self,
        m: Module,
        registers: RegisterFile,
        tile: wiring.PureInterface,
        activations: Collect,
    ) -> tuple[Value, Value]:
        """Activations, and what goes with them, into the tile.

        Returns
        -------
        tuple
            Whether a step is taken; whether one that begins a reduction is.
        """
        config, group = self._config, tile.i.payload
        is_first = Signal(init=1)
        before = Signal(32, name="steps_before")
        step = Signal()
        last = Signal()

        def kept(name: str) -> Signal:
            """What a register held when the reduction began."""
            register = getattr(registers, f"{name}_value")
            held = Signal.like(register, name=f"{name}_held")
            now = Signal.like(register, name=f"{name}_now")
            m.d.comb += now.eq(Mux(is_first, register, held))
            m.d.sync += held.eq(now)
            return now

        length = kept("length")
        ready: Value = tile.i.ready
        valid: Value = activations.o.valid
        if config.scale is not None:
            scales = self._scales(m, registers)
            m.d.comb += [
                scales.o.ready.eq(activations.o.valid & tile.i.ready),
                group.scale.eq(scales.o.payload.scale),
                registers.status_scale_error.eq(step & (scales.o.payload.last != last)),
            ]
            ready, valid = ready & scales.o.valid, valid & scales.o.valid
        m.d.comb += [
            tile.i.valid.eq(valid),
            activations.o.ready.eq(ready),
            step.eq(valid & tile.i.ready),
            last.eq(Mux(length.any(), before + 1 == length, activations.o.payload.last)),
            group.data.eq(activations.o.payload.data),
            group.last.eq(last),
            registers.status_last_error.eq(
                activations.misplaced | (step & activations.o.payload.last & ~last)
            ),
        ]
        if config.flexible:
            number = kept("pattern")[: config.pattern_width]
            m.d.comb += group.pattern.eq(number.replicate(config.rows))
        if config.shift == "static":
            m.d.comb += group.shift.eq(registers.shift_value)
        with m.If(step):
            m.d.sync += [is_first.eq(last), before.eq(Mux(last, 0, before + 1))]
        return step, step & is_first

    def _scales(self, m: Module, registers: RegisterFile) -> ScaleMemoryUnit:
        """The scales of a layer, written word by word through registers."""
        config = self._config
        m.submodules.scales = scales = ScaleMemoryUnit(
            UnitConfig(
                n=config.n,
                m=config.m,
                unit="scale_memory",
                scale_format=config.scale_format,
                depth=config.depth,
            )
        )
        push = registers.scale_push_push
        m.d.comb += [
            scales.i.valid.eq(push),
            scales.i.payload.scale.eq(registers.scale_word_value),
            scales.i.payload.last.eq(registers.scale_push_last),
            scales.i.payload.tokens.eq(registers.scale_tokens_value),
            registers.status_scale_ready.eq(scales.i.ready),
            registers.status_scale_lost.eq(push & ~scales.i.ready),
        ]
        return scales

    def _results(self, m: Module, registers: RegisterFile, tile: wiring.PureInterface) -> Value:
        """Sums in beats; whether the last beat of a result leaves."""
        config = self._config
        m.submodules.results = spread = Spread(
            config.stream_bits("sum"), config.word, user=config.rows
        )
        result = tile.o.payload
        count = config.rows * config.cols
        width = len(result.sum) // count
        sums = [result.sum.word_select(k, width).as_signed() for k in range(count)]
        m.d.comb += [
            spread.i.valid.eq(tile.o.valid),
            tile.o.ready.eq(spread.i.ready),
            *(
                spread.i.payload.data.word_select(k, config.sum_width).eq(total)
                for k, total in enumerate(sums)
            ),
            spread.i.payload.user.eq(result.error),
            registers.status_pattern_error.eq(tile.o.valid & spread.i.ready & result.error.any()),
            self.m_axis_results_tvalid.eq(spread.o.valid),
            spread.o.ready.eq(self.m_axis_results_tready),
            self.m_axis_results_tdata.eq(spread.o.payload.data),
            self.m_axis_results_tlast.eq(spread.o.payload.last),
            self.m_axis_results_tuser.eq(spread.o.payload.user),
        ]
        return spread.o.valid & spread.o.ready & spread.o.payload.last
