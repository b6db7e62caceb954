"""Correction unit: ratio of standard deviations and mean of a token."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, ShapeLike, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.adders import ripple_add
from hw.config import FEATURES_WIDTH, VARIANCE_FLOOR, UnitConfig
from hw.correction_plan import PLAN, CorrectionPlan
from hw.floats.alignment import align
from hw.floats.lanes import unpack
from hw.floats.normal import (
    EXPONENT_WIDTH,
    NORMAL,
    RAW_WIDTH,
    Raw,
    normal_code,
    round_to_normal,
)
from hw.floats.recurrence import Recurrence
from hw.formats import FP32
from hw.logic import any_of, named
from hw.normalize import normalize
from hw.ports import input_payload, output_payload
from hw.units.serial import SerialUnit

__all__ = ["CorrectionWorker", "correction_unit"]

_SIZE = FP32.significand_width

_EXPONENT = signed(EXPONENT_WIDTH)

#: Exponent of numbers from 1 to below 2.
_ONE = (1 << (FP32.exponent_width - 1)) - 1

#: An exponent of numbers that are rounded to 0.
_LEAST = -(1 << (EXPONENT_WIDTH - 2))

#: What is done in a cycle, by the names of `CorrectionPlan.controls`.
_Controls = Mapping[str, Value]


def correction_unit(config: UnitConfig) -> wiring.Component:
    """``o_ratio`` and ``o_mean`` of a token: see `sw.token_correction`.

    One multiplier, one subtractor, and one divider that takes roots as well; `hw.correction_plan`
    says when each of them does what.  The source holds a token's statistics for `PLAN.cycles`
    cycles, and the transfer is in the next one, so that a token takes ``PLAN.cycles + 1`` cycles
    when nothing stalls.  Latency K cycles from the transfer; the K register stages hold results.
    Reset gives up the work and empties the stages.
    """
    inputs, outputs = input_payload(config), output_payload(config)
    return SerialUnit(
        inputs=inputs,
        outputs=outputs,
        worker=CorrectionWorker(config),
        feed=lambda _, payload: {name: payload[name] for name in inputs},
        results=outputs,
        stages=config.stages,
    )


class _RawRegister:
    """Registers of a number that is not rounded yet."""

    def __init__(self, name: str, width: int) -> None:
        self.number = Signal(width, name=f"{name}_number", reset_less=True)
        self.sticky = Signal(name=f"{name}_sticky", reset_less=True)
        self.exponent = Signal(_EXPONENT, name=f"{name}_exponent", reset_less=True)
        self.nan = Signal(name=f"{name}_nan", reset_less=True)
        self.infinite = Signal(name=f"{name}_infinite", reset_less=True)

    @property
    def raw(self) -> Raw:
        """For the rounding."""
        number, rest = self.number[-RAW_WIDTH:], self.number[:-RAW_WIDTH]
        return Raw(number, self.sticky | rest.any(), self.exponent, self.nan, self.infinite)


class CorrectionWorker(wiring.Component):
    """Computes ratio and mean while the statistics are held.

    The registers ``count``, ``factor``, ``product``, ``other`` and ``divisor`` hold numbers, as
    `hw.correction_plan` says.  From its end on ``other`` holds the mean; the ratio is the root as
    the divider leaves it, rounded.  No register has a sign: a difference counts only where it is
    above 0, and the mean has the sign of the sum.

    Parameters
    ----------
    config
        The unit.
    plan
        How fast multiplier and divider are.

    Members
    -------
    sum, squares, kept_sum, kept_squares, features : In
        As at the unit's input; held while ``run``.
    run : In(1)
        There are statistics; stays until the edge with ``release``.  While it is 0, and in reset,
        everything is at its start.
    release : In(1)
        The results are taken at this edge, so that the next cycle may be the first of the next
        token.
    done : Out(1)
        The results are there; stays until ``release``.
    ratio, mean : Out(32)
        fp32.
    """

    def __init__(self, config: UnitConfig, plan: CorrectionPlan = PLAN) -> None:
        self._is_float = config.format.kind == "float"
        self._plan = plan
        super().__init__(
            {
                **{
                    name: In(port.count * port.width)
                    for name, port in input_payload(config).items()
                },
                "run": In(1),
                "release": In(1),
                "done": Out(1),
                "ratio": Out(FP32.width),
                "mean": Out(FP32.width),
            }
        )

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        restart = named(m, "restart", ResetSignal() | self.release | ~self.run)
        now = self._controls(m, restart)
        product = _RawRegister("product", _SIZE + self._plan.digit_width)
        factor, other = (Signal(NORMAL, name=name, reset_less=True) for name in ("factor", "other"))
        rounded = Signal(NORMAL)
        taken = self._take(m, now, product)
        quotient = self._divide(m, now, restart, rounded, product)
        m.d.comb += rounded.eq(self._round(m, now, taken, product.raw, quotient))
        self._multiply(m, now, product, factor, self._count(m, now, rounded))
        self._subtract(m, now, product, other)
        with m.If(now["to_product"]):
            m.d.sync += [
                product.number.eq(Cat(Const(0, self._plan.digit_width), rounded.significand)),
                product.sticky.eq(0),
                product.exponent.eq(rounded.exponent),
                product.nan.eq(rounded.nan),
                product.infinite.eq(rounded.infinite),
            ]
        for name, register in (("factor", factor), ("other", other)):
            with m.If(now[f"to_{name}"]):
                m.d.sync += register.eq(rounded)
        m.d.comb += self.ratio.eq(
            normal_code(m, "ratio_code", rounded, Const(0, 1), rounded.significand)
        )
        return m

    def _controls(self, m: Module, restart: Value) -> dict[str, Value]:
        """Count the cycles and drive ``done``; the controls of `CorrectionPlan`."""
        last = self._plan.cycles
        cycle = Signal(range(last + 1), reset_less=True)
        # Reset is part of `restart`.
        m.d.sync += cycle.eq(Mux(restart, 0, cycle + ~self.done))
        m.d.comb += self.done.eq(cycle == last)
        return {
            name: named(m, name, any_of([cycle == number for number in cycles]))
            for name, cycles in self._plan.controls.items()
        }

    def _take(self, m: Module, now: _Controls, product: _RawRegister) -> Raw:
        """What is brought to normal form, to be rounded in the next cycle."""
        others = Mux(self.features == 1, 1, self.features - 1)[:FEATURES_WIDTH]
        raw = product.raw
        sources = [
            *self._statistics(m, now),
            _integer(now["take_features"], self.features),
            # Of one activation one pair is counted, so that the floor is not 0.
            _integer(now["take_others"], named(m, "others", others)),
            _Source(
                now["take_product"], raw.number, raw.exponent, raw.sticky, raw.nan, raw.infinite
            ),
        ]
        width = max(len(source.number) for source in sources)
        number = _chosen(
            m,
            "number",
            width,
            [
                (source.condition, Cat(Const(0, width - len(source.number)), source.number))
                for source in sources
            ],
        )
        exponent, sticky, nan, infinite = (
            _chosen(
                m, part, shape, [(source.condition, getattr(source, part)) for source in sources]
            )
            for part, shape in (("exponent", _EXPONENT), ("sticky", 1), ("nan", 1), ("infinite", 1))
        )
        shifted, zeros = normalize(m, "normal", number)
        taken = _RawRegister("taken", RAW_WIDTH)
        m.d.sync += [
            taken.number.eq(shifted[-RAW_WIDTH:]),
            taken.sticky.eq(sticky | shifted[:-RAW_WIDTH].any()),
            taken.exponent.eq(exponent - zeros),
            taken.nan.eq(nan),
            taken.infinite.eq(infinite),
        ]
        return taken.raw

    def _statistics(self, m: Module, now: _Controls) -> list["_Source"]:
        """The sums and those of squares, without their signs."""
        chosen = {
            kind: (
                now[f"take_{kind}"] | now[f"take_kept_{kind}"],
                Mux(now[f"take_{kind}"], getattr(self, kind), getattr(self, f"kept_{kind}")),
            )
            for kind in ("sum", "squares")
        }
        if not self._is_float:
            condition, total = chosen["sum"]
            total = named(m, "total", total)
            magnitude = named(m, "magnitude", Mux(total[-1], -total, total)[: len(total)])
            return [_integer(condition, magnitude), _integer(*chosen["squares"])]
        code = _chosen(m, "statistic", FP32.width, list(chosen.values()))
        number = unpack(m, "statistic", code, FP32)
        # Field 0 has the place values of field 1.
        exponent = Cat(number.exponent[0] | ~number.is_normal, number.exponent[1:])
        return [
            _Source(
                any_of([condition for condition, _ in chosen.values()]),
                Cat(*number.significand),
                Cat(exponent, Const(0, EXPONENT_WIDTH - len(exponent))),
                nan=number.is_nan,
                infinite=number.is_special,
            )
        ]

    def _round(
        self, m: Module, now: _Controls, taken: Raw, product: Raw, quotient: Raw
    ) -> data.View:
        """What is rounded in this cycle."""

        def choose(part: str) -> Value:
            first, second, third = (getattr(raw, part) for raw in (taken, product, quotient))
            rest = Mux(now["round_product"], second, third)
            return named(m, f"raw_{part}", Mux(now["round_taken"], first, rest))

        raw = Raw(*(choose(part) for part in ("number", "sticky", "exponent", "nan", "infinite")))
        return round_to_normal(m, "new", raw, is_float=self._is_float)

    @staticmethod
    def _count(m: Module, now: _Controls, rounded: data.View) -> tuple[Value, Value]:
        """The number of activations: its significand, and its exponent beyond that of 1."""
        significand = Signal(FEATURES_WIDTH, name="count", reset_less=True)
        exponent = Signal(range(FEATURES_WIDTH), name="count_exponent", reset_less=True)
        with m.If(now["to_count"]):
            m.d.sync += [
                significand.eq(rounded.significand[-FEATURES_WIDTH:]),
                exponent.eq(rounded.exponent - _ONE),
            ]
        return Cat(Const(0, _SIZE - FEATURES_WIDTH), significand), exponent

    def _multiply(
        self,
        m: Module,
        now: _Controls,
        product: _RawRegister,
        factor: data.View,
        count: tuple[Value, Value],
    ) -> None:
        """The factor times a digit, the lowest one first, onto what is there, a digit down."""
        width, digits = self._plan.digit_width, range(self._plan.digits)
        others = {
            "count": count,
            "factor": (factor.significand, factor.exponent - _ONE),
            "floor": _constant(VARIANCE_FLOOR),
        }
        conditions = {name: now[f"multiply_{name}"] for name in others}
        significand, exponent = (
            _chosen(
                m,
                f"multiplier_{part}",
                shape,
                [(conditions[name], other[k]) for name, other in others.items()],
            )
            for k, (part, shape) in enumerate((("significand", _SIZE), ("exponent", _EXPONENT)))
        )
        padded = Cat(Const(0, len(digits) * width - _SIZE), significand)
        digit = _chosen(
            m,
            "digit",
            width,
            [(now[f"digit_{k}"], padded[k * width : (k + 1) * width]) for k in digits],
        )
        before = product.number & (~now["first"]).replicate(len(product.number))
        with m.If(any_of(list(conditions.values()))):
            m.d.sync += [
                product.number.eq(before[width:] + factor.significand * digit),
                product.sticky.eq(before[:width].any() | (product.sticky & ~now["first"])),
            ]
        with m.If(now["first"]):
            m.d.sync += [
                # The highest bit of a product counts 2.
                product.exponent.eq(factor.exponent + exponent + 1),
                product.nan.eq(factor.nan),
                product.infinite.eq(factor.infinite),
            ]

    def _subtract(self, m: Module, now: _Controls, product: _RawRegister, other: data.View) -> None:
        """The product minus the other number, 0 where that is larger; and the mean.

        The shifter that brings the other number down to the product brings a subnormal mean down to
        the place of its last bit.
        """
        subtracts = named(m, "subtracts", now["subtract_squares"] | now["subtract_kept_squares"])
        distance = Signal(signed(EXPONENT_WIDTH + 1))
        m.d.comb += distance.eq(Mux(subtracts, product.exponent, 1) - other.exponent)
        is_above = distance[-1]
        stages = RAW_WIDTH.bit_length()
        is_far = distance[stages:-1].any()
        places = (distance[:stages] | is_far.replicate(stages)) & (~is_above).replicate(stages)
        guarded = Cat(Const(0, RAW_WIDTH - _SIZE), other.significand)
        aligned, sticky = align(m, "other_aligned", guarded, named(m, "places", places))
        difference, not_less = ripple_add(
            m, "difference", product.number[-RAW_WIDTH:], ~aligned, ~sticky
        )
        is_negative: Value = Const(0, 1)
        if self._is_float:
            # As the squares that the product comes from.
            is_negative = named(
                m,
                "is_negative",
                Mux(now["subtract_squares"], self.squares[-1], self.kept_squares[-1]),
            )
        is_larger = (is_above & other.significand[-1]) | ~not_less
        is_positive = named(m, "is_positive", ~(is_negative | other.infinite | is_larger))
        low = len(product.number) - RAW_WIDTH
        with m.If(subtracts):
            m.d.sync += [
                product.number.eq(
                    Cat(Const(0, low), difference & is_positive.replicate(RAW_WIDTH))
                ),
                product.sticky.eq(sticky & is_positive),
                product.nan.eq(
                    product.nan | other.nan | (product.infinite & other.infinite & ~is_negative)
                ),
                product.infinite.eq(product.infinite & ~other.infinite & ~is_negative),
            ]
        significand = aligned[-_SIZE:] if self._is_float else other.significand
        m.d.comb += self.mean.eq(normal_code(m, "mean_code", other, self.sum[-1], significand))

    def _divide(
        self,
        m: Module,
        now: _Controls,
        restart: Value,
        new: data.View,
        product: _RawRegister,
    ) -> Raw:
        """Quotients of the remainder and the divisor, and the root of what the remainder is."""
        plan = self._plan
        recurrence = Recurrence(
            width=_SIZE, cycles=plan.division_cycles, bits_per_cycle=plan.bits_per_cycle
        )
        divisor = _RawRegister("divisor", recurrence.register_width)
        found = _RawRegister("found", recurrence.result_width)
        remainder = Signal(recurrence.register_width, reset_less=True)
        # Which cycle of a division it is, the first one highest.
        place = Signal(plan.division_cycles, reset_less=True)
        is_root = Signal(reset_less=True)
        m.d.sync += [
            place.eq(Cat(place[1:], now["divide"]) & (~restart).replicate(len(place))),
            is_root.eq((is_root | now["root"]) & ~restart),
        ]
        after, trial, bits = recurrence.cycle(
            m,
            "division",
            remainder=remainder,
            trial=divisor.number,
            place=named(m, "root_place", place & is_root.replicate(len(place))),
        )
        with m.If(place.any()):
            m.d.sync += [
                remainder.eq(after),
                divisor.number.eq(trial),
                found.number.eq(Cat(bits, found.number[: -len(bits)])),
            ]
        with m.If(place[-1] & is_root):
            m.d.sync += found.exponent.eq((found.exponent + _ONE) >> 1)
        with m.If(place[-1] & ~is_root):
            exponent = found.exponent - divisor.exponent + _ONE
            m.d.sync += [
                found.exponent.eq(Mux(divisor.infinite, _LEAST, exponent)),
                found.nan.eq(found.nan | divisor.nan | (found.infinite & divisor.infinite)),
            ]
        with m.If(now["to_remainder"]):
            # A root has half the exponent; where that is none, the radicand is doubled.
            doubled = now["root"] & ~new.exponent[0]
            number = Mux(doubled, Cat(Const(0, 1), new.significand), new.significand)
            m.d.sync += [
                remainder.eq(recurrence.operand(number)),
                found.exponent.eq(new.exponent),
                found.nan.eq(new.nan),
                found.infinite.eq(new.infinite),
            ]
        with m.If(now["root"]):
            m.d.sync += divisor.number.eq(recurrence.one)
        with m.If(now["to_divisor"]):
            m.d.sync += [
                divisor.number.eq(recurrence.operand(new.significand)),
                divisor.exponent.eq(new.exponent),
                divisor.nan.eq(new.nan),
                divisor.infinite.eq(new.infinite),
            ]
        self._raise(m, now, product, divisor, recurrence)
        raw = found.raw
        sticky = raw.sticky | remainder.any()
        return Raw(raw.number, sticky, found.exponent, found.nan, found.infinite)

    @staticmethod
    def _raise(
        m: Module,
        now: _Controls,
        product: _RawRegister,
        divisor: _RawRegister,
        recurrence: Recurrence,
    ) -> None:
        """The product becomes the divisor if it is larger.  It is finite, and not 0."""
        significand = recurrence.operand(product.number[-_SIZE:])
        low, high = recurrence.result_width - _SIZE, recurrence.result_width
        first, second = (
            Cat(number[low:high], exponent[:-1], ~exponent[-1])
            for number, exponent in (
                (significand, product.exponent),
                (divisor.number, divisor.exponent),
            )
        )
        is_zero = ~divisor.number[high - 1]
        is_larger = named(m, "is_larger", is_zero | (first > second))
        with m.If(now["maximum"] & is_larger & ~divisor.nan & ~divisor.infinite):
            m.d.sync += [divisor.number.eq(significand), divisor.exponent.eq(product.exponent)]


@dataclass(frozen=True)
class _Source:
    """What the normalizer may take.

    Parameters
    ----------
    condition
        Whether it does.
    number
        Bits, of which the highest one counts ``2**(exponent - 127)``.
    exponent, sticky, nan, infinite
        As in `hw.floats.normal.Raw`.
    """

    condition: Value
    number: Value
    exponent: Value
    sticky: Value = field(default_factory=lambda: Const(0, 1))
    nan: Value = field(default_factory=lambda: Const(0, 1))
    infinite: Value = field(default_factory=lambda: Const(0, 1))


def _integer(condition: Value, number: Value) -> _Source:
    return _Source(condition, number, Const(_ONE + len(number) - 1, EXPONENT_WIDTH))


def _chosen(
    m: Module, name: str, shape: ShapeLike, choices: Sequence[tuple[Value, Value]]
) -> Value:
    """The value whose condition is 1, 0 if there is none."""
    gated = []
    for number, (condition, value) in enumerate(choices):
        own = Signal(shape, name=f"{name}_choice{number}")
        m.d.comb += own.eq(value)
        gated.append(own & condition.replicate(len(own)))
    result = Signal(shape, name=name)
    m.d.comb += result.eq(any_of(gated))
    return result


def _constant(number: float) -> tuple[Value, Value]:
    """The fp32 number nearest to a number: its significand, and its exponent beyond that of 1."""
    (code,) = struct.unpack("<I", struct.pack("<f", number))
    exponent, mantissa = divmod(code, 1 << FP32.mantissa_width)
    return Const(mantissa | 1 << FP32.mantissa_width, _SIZE), Const(exponent - _ONE, _EXPONENT)
