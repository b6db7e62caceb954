"""Tile unit: R rows of activations by C columns of weights, with R sparsifiers and R * C PEs."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from amaranth.hdl import Cat, Const, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import UnitConfig
from hw.dot_products import dot_product_units
from hw.flat import instance
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Pipeline, Step, payload_layout
from hw.ports import Field, input_payload, output_payload
from hw.products import SignedProduct, digits_of
from hw.slots import ResidueGather
from hw.units.chain import Chain
from hw.units.sparsifier import sparsifier_unit
from hw.units.streams import stream_members

__all__ = ["TileUnit", "part_counts", "pe_config", "sparsifier_config", "tile_parts"]


def sparsifier_config(config: UnitConfig) -> UnitConfig:
    """The sparsifier of a row."""
    return replace(config, unit="sparsifier", name=None)


def pe_config(config: UnitConfig) -> UnitConfig:
    """The PEs: of N slots in M lanes, behind a decoder that they share with their row.

    They look for an error only where the row can have one.
    """
    return UnitConfig(
        n=config.n,
        m=config.m,
        unit="pe",
        dtype=config.dtype,
        weight_dtype=config.weight_dtype,
        metadata="decoded",
        acc_width=config.acc_width,
        overflow=config.overflow,
        align_bits=config.align_bits,
        check=config.check and config.has_illegal_patterns,
        pipeline=config.pipeline,
    )


def _digits_width(config: UnitConfig) -> int | None:
    """Bits of the digits of a value, where products are made from them; None: they are not."""
    if config.format.kind != "int":
        return None
    product = SignedProduct(config.format.width, config.weight_format.width)
    return product.digits_width if product.has_first_digits else None


def _choice(config: UnitConfig) -> ResidueGather | None:
    """How PEs choose weights, with bits that their row makes; None: they take all of them."""
    return None if config.is_dense else ResidueGather.smallest(n=config.n, m=config.m)


def _pe_inputs(config: UnitConfig) -> dict[str, Field]:
    """What a PE takes, much of it made ready by its row.

    ``values``, or their digits where products are made from these; ``meta``, the bits that choose
    its weights and one that is 1 for an illegal group; ``weights`` and ``last``.
    """
    fields = dict(input_payload(pe_config(config)))
    width, choice = _digits_width(config), _choice(config)
    if width is not None:
        fields["values"] = Field("slot", fields["values"].count, width, "unsigned")
    fields["meta"] = Field("bit", 1 + (choice.products if choice else 0), 1, "bit")
    return fields


def _value_step(config: UnitConfig, source: str) -> Step:
    """From kept activations to what PEs take of them."""
    width = _digits_width(config)

    def recode(m: Module, bundle: Bundle) -> Bundle:
        values = bundle[source]
        if width is not None:
            values = [digits_of(m, f"value{k}", value) for k, value in enumerate(values)]
        return {"values": values}

    bits = config.n * (width or config.format.width)
    return Step(recode, {"values": bits}, (source,), levels=0 if width is None else 2)


def row_unit(config: UnitConfig) -> wiring.Component:
    """What stands in front of the PEs of a row: activations in, packed and with their lanes out.

    A sparsifier, the decoder of its metadata, and the registers from which values and decoded
    metadata go to all PEs of the row.  Without sparsity two stages of registers.  Integers go as
    the digits that their products are made from (`hw.products`), where these are theirs.
    """
    pe = pe_config(config)
    outputs = {name: field for name, field in _pe_inputs(config).items() if name != "weights"}
    if config.is_dense:
        group = {"data": input_payload(pe)["values"], "last": outputs["last"]}

        def choose_all(_: Module, __: Bundle) -> Bundle:
            return {"meta": [Const(0, 1)]}

        step = Step(choose_all, {"meta": 1}, (), levels=0)
        values = {"values": outputs["values"], "last": outputs["last"]}
        registers = Pipeline(
            inputs=group, outputs=values, steps=[_value_step(config, "data")], stages=2
        )
        lanes = Pipeline(inputs=values, outputs=outputs, steps=[step], stages=0)
        return Chain({"registers": registers, "lanes": lanes})
    sparsifier = sparsifier_config(config)

    choice = _choice(config)

    def choose(m: Module, bundle: Bundle) -> Bundle:
        takes = choice.takes(m, bundle["select"]) if choice else []
        return {"meta": [*takes, *bundle["error"]]}

    decode = Pipeline(
        inputs=output_payload(sparsifier),
        outputs=outputs,
        steps=[
            *create_metadata_code(sparsifier).read_select(check=pe.check),
            Step(choose, {"meta": outputs["meta"].count}, ("select", "error"), levels=2),
            _value_step(config, "values"),
        ],
        stages=1,
    )
    return Chain({"sparsifier": sparsifier_unit(sparsifier), "decoder": decode})


def _pe(config: UnitConfig) -> wiring.Component:
    """A PE behind what it shares with its row: its decoder, and the digits of the values."""
    pe, width, choice = pe_config(config), _digits_width(config), _choice(config)
    inputs = _pe_inputs(config)

    def factors(m: Module, bundle: Bundle) -> Bundle:
        *takes, error = bundle["meta"]
        weights = bundle["weights"]
        return {
            "first": bundle["values"],
            "second": choice.gather(m, takes, weights) if choice else weights,
            "error": [error if pe.check else Const(0, 1)],
        }

    produces = {
        "first": inputs["values"].count * inputs["values"].width,
        "second": pe.n * pe.weight_format.width,
        "error": 1,
    }
    step = Step(factors, produces, ("values", "meta", "weights"), levels=2 + config.m.bit_length())
    return Chain(
        dot_product_units(
            pe,
            inputs=inputs,
            steps=[step],
            stages=pe.stages,
            **({} if width is None else {"has_digits": True}),
        )
    )


def column_unit(config: UnitConfig) -> wiring.Component:
    """The weights of a column: those at work, and those that wait behind them."""
    weights = {"weights": input_payload(pe_config(config))["weights"]}
    return Pipeline(inputs=weights, outputs=weights, steps=(), stages=2)


class Join(wiring.Component):
    """Lets a step go on when its rows and its columns are there; no payload.

    Combinational.

    Members
    -------
    i : In(stream)
        Of the rows.
    w : In(stream)
        Of the columns.
    o : Out(stream)
        To the PEs.
    """

    def __init__(self) -> None:
        nothing = stream.Signature(payload_layout({}))
        super().__init__({"i": In(nothing), "w": In(nothing), "o": Out(nothing)})

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        m.d.comb += [
            self.o.valid.eq(self.i.valid & self.w.valid),
            self.i.ready.eq(self.w.valid & self.o.ready),
            self.w.ready.eq(self.i.valid & self.o.ready),
        ]
        return m


#: What a PE gets from its row.
_FROM_ROW = ("values", "meta", "last")

#: What a tile is made of, by the name that its module ends with, and how many there are of each.
_PARTS: dict[str, tuple[Callable[[UnitConfig], wiring.Component], Callable[[UnitConfig], int]]] = {
    "row": (row_unit, lambda config: config.rows),
    "column": (column_unit, lambda config: config.cols),
    "join": (lambda _: Join(), lambda _: 1),
    "pe": (_pe, lambda config: config.rows * config.cols),
}


def tile_parts(config: UnitConfig) -> dict[str, wiring.Component]:
    """The units that a tile is made of, by the name that the module of each ends with."""
    return {name: create(config) for name, (create, _) in _PARTS.items()}


def part_counts(config: UnitConfig) -> dict[str, int]:
    """How many of each there are."""
    return {name: count(config) for name, (_, count) in _PARTS.items()}


class TileUnit(wiring.Component):
    """Sums of R rows of activations times C columns of weights.

    A step is a group of M lanes of each of R tokens, side by side, and the weights of these lanes
    in each of C columns.  ``o_sum`` r * C + c = sum over the steps of a reduction of ``sum_j
    kept(row r)_j * weight(column c)_j``, where kept is what the sparsifier of the row leaves of the
    group; ``i_last`` ends the reductions of all rows.  ``o_error`` r is 1 iff ``i_pattern`` of row
    r named a pattern that does not exist in any of the steps; such a group counts 0.

    Each row has one sparsifier and one decoder for all its PEs.  All rows are in the same state in
    every cycle, as are all columns and all PEs: the first of each speaks for all.  There are no
    gates here but in the parts.

    Latency: `UnitConfig.latency_cycles` from the transfer with ``i_last``, if the weights of a step
    come at the same time, and the initiation interval is 1.

    Members
    -------
    i : In(stream)
        ``data``, ``last``, and what the sparsifiers need beside them.
    w : In(stream)
        ``weights``.
    o : Out(stream)
        ``sum``, ``error``.

    Attributes
    ----------
    parts
        The modules that this one has instances of.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        self._parts = tile_parts(config)
        super().__init__(stream_members(config))

    @property
    def parts(self) -> Mapping[str, wiring.Component]:
        """The units inside, by the names of their modules."""
        return {f"{self._config.top}_{name}": unit for name, unit in self._parts.items()}

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        config = self._config
        m = Module()

        def place(part: str, name: str) -> wiring.PureInterface:
            return instance(m, name, f"{config.top}_{part}", self._parts[part])

        rows = [place("row", f"row{r}") for r in range(config.rows)]
        columns = [place("column", f"column{c}") for c in range(config.cols)]
        join = place("join", "join")

        for r, row in enumerate(rows):
            m.d.comb += [row.i.valid.eq(self.i.valid), row.o.ready.eq(join.i.ready)]
            for name, _ in row.i.payload.shape():
                target, source = row.i.payload[name], self.i.payload[name]
                # What is not the row's own is common to all of them.
                place_of_row = r if len(source) > len(target) else 0
                m.d.comb += target.eq(source.word_select(place_of_row, len(target)))
        for c, column in enumerate(columns):
            target = column.i.payload.weights
            m.d.comb += [
                column.i.valid.eq(self.w.valid),
                column.o.ready.eq(join.w.ready),
                target.eq(self.w.payload.weights.word_select(c, len(target))),
            ]
        sums, errors = [], []
        for r, row in enumerate(rows):
            for c, column in enumerate(columns):
                pe = place("pe", f"pe{r}_{c}")
                m.d.comb += [
                    pe.i.valid.eq(join.o.valid),
                    *(pe.i.payload[name].eq(row.o.payload[name]) for name in _FROM_ROW),
                    pe.i.payload.weights.eq(column.o.payload.weights),
                    pe.o.ready.eq(self.o.ready),
                ]
                sums.append(pe.o.payload.sum)
                if c == 0:
                    errors.append(pe.o.payload.error)
                if r == c == 0:
                    m.d.comb += [join.o.ready.eq(pe.i.ready), self.o.valid.eq(pe.o.valid)]
        m.d.comb += [
            self.i.ready.eq(rows[0].i.ready),
            join.i.valid.eq(rows[0].o.valid),
            self.w.ready.eq(columns[0].i.ready),
            join.w.valid.eq(columns[0].o.valid),
            self.o.payload.sum.eq(Cat(sums)),
            self.o.payload.error.eq(Cat(errors)),
        ]
        return m
