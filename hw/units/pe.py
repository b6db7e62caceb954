"""Sparse dot-product PE: packed activations and dense weights in, one sum a reduction out."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import UnitConfig
from hw.logic import named
from hw.metadata import create_metadata_code
from hw.pipeline import Bundle, Pipeline, Step, payload_layout
from hw.ports import Field, input_payload, output_payload
from hw.slots import gather

__all__ = ["PeUnit"]


def add_tree(values: Sequence[Value]) -> Value:
    """Sum of signed values as a balanced tree, wide enough to be exact."""
    values = list(values)
    while len(values) > 1:
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return values[0]


class Accumulator(wiring.Component):
    """Sums of a stream of groups, one result a reduction.

    ``sum`` = sum of ``dot`` over the groups up to and including one with ``last``, in which an
    illegal group counts 0; ``error`` says whether one was illegal.  The next reduction starts from
    0 and without error, as does the first after reset.  ``wrap`` counts modulo 2**acc_width,
    ``saturate`` limits the sum to its range after each group.

    Latency one cycle from the transfer with ``last``.  One group a cycle; while a result waits at
    the output nothing is taken, for the accumulator is the output register.

    Members
    -------
    i : In(stream)
        ``dot`` (signed), ``error``, ``last``.
    o : Out(stream)
        ``sum`` (signed), ``error``.
    """

    def __init__(self, config: UnitConfig, inputs: dict[str, Field]) -> None:
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(payload_layout(inputs))),
                "o": Out(stream.Signature(payload_layout(output_payload(config)))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        width = self._config.acc_width
        group = self.i.payload
        take = Signal()
        fresh = Signal(init=1)
        total = Signal(signed(width), reset_less=True)
        error = Signal(reset_less=True)

        before = Mux(fresh, 0, total)
        after = Signal(signed(max(width, len(group.dot)) + 1))
        m.d.comb += after.eq(before + group.dot.as_signed())
        # An illegal group leaves the sum as it is, or starts it at 0.  The gates for this stand
        # behind the adder: with gates in front of it abc's search for equal nodes did not end in
        # minutes at 8:16, presumably because nearly all random patterns are illegal codes and
        # make everything behind the gates look constant.
        with m.If(take & (fresh | ~group.error)):
            m.d.sync += total.eq(Mux(group.error, 0, self._limited(after)))
        with m.If(take):
            m.d.sync += [
                # Without the check the flag is a constant, and no register is left of it.
                error.eq((group.error | (error & ~fresh)) if self._config.check else 0),
                fresh.eq(group.last),
            ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(take & group.last)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            take.eq(self.i.valid & self.i.ready),
            self.o.payload.sum.eq(total),
            self.o.payload.error.eq(error),
        ]
        return m

    def _limited(self, value: Value) -> Value:
        """Truncate or saturate to the accumulator's width."""
        width = self._config.acc_width
        if self._config.overflow == "wrap":
            return value[:width]
        above = value[width - 1 :]
        limit = Cat(~value[-1].replicate(width - 1), value[-1])
        return Mux(above.any() & ~above.all(), limit, value[:width])


class PeUnit(wiring.Component):
    """Sparse dot product of N packed activations with the weights of their lanes, accumulated.

    ``o_sum`` = sum over the groups of a reduction of ``sum_k value_k * weight[lane_k]``, where
    lane_k is the k-th kept lane of the group's metadata; ``i_last`` ends the reduction.  Exact;
    what the accumulator does beyond its range, after errors and after reset: `Accumulator`.
    ``o_error`` is 1 iff the metadata of any group of the reduction was illegal; without `check` it
    is 0 and an illegal code gives an unspecified sum.

    Slot k multiplies with one of M - N + 1 weights, since only lanes k .. k + M - N can fill it.
    Latency K cycles from the transfer with ``i_last``; one group a cycle when nothing stalls.  The
    accumulator is the last of the K stages, the others cut decoding, gathering, multiplying and
    adding.

    Members
    -------
    i : In(stream)
        ``values``, ``meta``, ``weights``, ``last``.
    o : Out(stream)
        ``sum``, ``error``.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        self._inputs = input_payload(config)
        super().__init__(
            {
                "i": In(stream.Signature(payload_layout(self._inputs))),
                "o": Out(stream.Signature(payload_layout(output_payload(config)))),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        config = self._config
        value_width, weight_width = config.format.width, config.weight_format.width
        product_width = value_width + weight_width
        dot_width = product_width + (config.n - 1).bit_length()
        flags = {name: Field(name, 1, 1, "bit") for name in ("error", "last")}
        products = {"dot": Field("dot", 1, dot_width, "signed"), **flags}

        def weigh(m: Module, bundle: Bundle) -> Bundle:
            weights = gather(bundle["select"], bundle["weights"], config.n)
            return {"gathered": [named(m, f"weight{k}", w) for k, w in enumerate(weights)]}

        def multiply(m: Module, bundle: Bundle) -> Bundle:
            pairs = zip(bundle["values"], bundle["gathered"], strict=True)
            return {
                "products": [
                    named(m, f"product{k}", value.as_signed() * weight.as_signed())
                    for k, (value, weight) in enumerate(pairs)
                ]
            }

        def add(m: Module, bundle: Bundle) -> Bundle:
            terms = [product.as_signed() for product in bundle["products"]]
            return {"dot": [named(m, "dot", add_tree(terms))]}

        code = create_metadata_code(config)
        m = Module()
        m.submodules.multiply_add = pipeline = Pipeline(
            inputs=self._inputs,
            outputs=products,
            steps=[
                *code.read_select(check=config.check),
                Step(
                    weigh,
                    {"gathered": config.n * weight_width},
                    ("select", "weights"),
                    levels=2 + config.m.bit_length(),
                ),
                Step(
                    multiply,
                    {"products": config.n * product_width},
                    ("values", "gathered"),
                    levels=6 * value_width // 2,
                ),
                Step(add, {"dot": dot_width}, ("products",), levels=8 + 2 * config.n.bit_length()),
            ],
            stages=config.stages - 1,
        )
        m.submodules.accumulate = accumulator = Accumulator(config, products)
        wiring.connect(m, wiring.flipped(self.i), pipeline.i)
        wiring.connect(m, pipeline.o, accumulator.i)
        wiring.connect(m, accumulator.o, wiring.flipped(self.o))
        return m
