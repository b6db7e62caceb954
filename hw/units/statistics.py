"""Statistics unit: what one pass over a token finds out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from hw.aligned_sum import AlignedSum, maximum
from hw.config import STATISTICS_WIDTHS, UnitConfig
from hw.floats.lanes import unpack
from hw.keys import key_step
from hw.logic import any_of, named
from hw.pipeline import Bundle, Pipeline, Step
from hw.ports import Field, input_payload, output_payload
from hw.reduction import Reduction
from hw.units.chain import Chain

__all__ = ["statistics_unit"]

#: What is found out twice: of all activations, and of those that are kept.
_SCOPES = ("all", "kept")


def statistics_unit(config: UnitConfig) -> wiring.Component:
    """Sum, sum of squares and largest magnitude of a token, of all of it and of what is kept.

    One result a token: ``o_sum``, ``o_squares``, ``o_max``, and ``o_kept_sum``, ``o_kept_squares``,
    ``o_kept_max`` of the lanes whose bit of ``i_mask`` is 1.  Integers: exact, modulo 2**32 and
    2**48.  Floating point: fp32, by the rule of `hw.aligned_sum`, where all numbers of a group have
    a say in its exponent, kept or not.  NaN and infinity: `sw.token_statistics`.

    Latency K cycles from the transfer with ``i_last``; one group a cycle when nothing stalls.  The
    sums are one of the K stages, the others cut what comes before and behind them.  While a result
    waits at the sums nothing is taken.  Reset forgets the token.
    """
    kind = _FloatStatistics if config.format.kind == "float" else _IntegerStatistics
    statistics = kind(config)
    behind = (config.stages - 1) // 2
    return Chain(
        {
            "group": Pipeline(
                inputs=input_payload(config),
                outputs=statistics.group_fields,
                steps=statistics.group_steps(),
                stages=config.stages - 1 - behind,
            ),
            "token": Reduction(
                inputs=statistics.group_fields,
                outputs=statistics.token_fields,
                gather=statistics.gather,
            ),
            "result": Pipeline(
                inputs=statistics.token_fields,
                outputs=output_payload(config),
                steps=statistics.result_steps(),
                stages=behind,
            ),
        }
    )


class Statistics(ABC):
    """How the numbers of one kind of formats are added.

    Parameters
    ----------
    config
        The unit.
    """

    def __init__(self, config: UnitConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def group_fields(self) -> dict[str, Field]:
        """What is found out about a group, ``last`` among it."""

    @property
    @abstractmethod
    def token_fields(self) -> dict[str, Field]:
        """What is found out about a token."""

    @abstractmethod
    def group_steps(self) -> list[Step]:
        """Steps from the unit's input to `group_fields`."""

    @abstractmethod
    def gather(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> dict[str, Sequence[Value]]:
        """Registers that hold `token_fields`, see `hw.reduction`."""

    @abstractmethod
    def result_steps(self) -> list[Step]:
        """Steps from `token_fields` to the unit's output."""

    def _fields(self, sizes: dict[str, tuple[int, int]]) -> dict[str, Field]:
        return {
            name: Field(name, count, width, "unsigned") for name, (count, width) in sizes.items()
        }

    def _largest(
        self, m: Module, group: data.View, *, take: Value, fresh: Value
    ) -> Sequence[Value]:
        """Registers of the largest key of either scope."""
        width = self.config.format.key_width
        registers = []
        for number, scope in enumerate(_SCOPES):
            found = group["max"][number * width : (number + 1) * width]
            register = Signal(width, name=f"{scope}_max", reset_less=True)
            with m.If(take & (fresh | (found > register))):
                m.d.sync += register.eq(found)
            registers.append(register)
        return registers

    def _group_largest(self, m: Module, keys: Sequence[Value], mask: Sequence[Value]) -> Bundle:
        """The largest key of either scope in a group."""
        kept = [
            named(m, f"kept_key{lane}", key & bit.replicate(len(key)))
            for lane, (key, bit) in enumerate(zip(keys, mask, strict=True))
        ]
        return {"max": [maximum(m, "all_max", keys), maximum(m, "kept_max", kept)]}


class _IntegerStatistics(Statistics):
    """Exact sums."""

    @property
    def _sizes(self) -> dict[str, tuple[int, int]]:
        lanes = (self.config.m - 1).bit_length()
        width = self.config.format.width
        return {
            "sum": (2, width + lanes),
            "squares": (2, 2 * width - 1 + lanes),
            "max": (2, self.config.format.key_width),
        }

    @property
    def group_fields(self) -> dict[str, Field]:
        return self._fields({**self._sizes, "last": (1, 1)})

    @property
    def token_fields(self) -> dict[str, Field]:
        return output_payload(self.config)

    def group_steps(self) -> list[Step]:
        config = self.config
        sizes = {name: count * width for name, (count, width) in self._sizes.items()}

        def square(m: Module, bundle: Bundle) -> Bundle:
            squares = [
                named(m, f"square{lane}", key * key) for lane, key in enumerate(bundle["keys"])
            ]
            return {"square": squares}

        def add(m: Module, bundle: Bundle) -> Bundle:
            mask = bundle["mask"]
            result = self._group_largest(m, bundle["keys"], mask)
            for name, numbers in (
                ("sum", [value.as_signed() for value in bundle["data"]]),
                ("squares", bundle["square"]),
            ):
                kept = [Mux(bit, value, 0) for value, bit in zip(numbers, mask, strict=True)]
                width = self._sizes[name][1]
                result[name] = [
                    named(m, f"{scope}_{name}", _tree(terms)[:width])
                    for scope, terms in zip(_SCOPES, (numbers, kept), strict=True)
                ]
            return result

        width = config.format.width
        return [
            key_step(config.format, config.m),
            Step(square, {"square": 2 * width * config.m}, levels=3 * width),
            Step(add, sizes, ("data", "mask", "keys", "square"), levels=6 * width.bit_length()),
        ]

    def gather(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> dict[str, Sequence[Value]]:
        result: dict[str, Sequence[Value]] = {}
        largest = self._largest(m, group, take=take, fresh=fresh)
        for number, (scope, prefix) in enumerate(zip(_SCOPES, ("", "kept_"), strict=True)):
            for name, width in zip(("sum", "squares"), STATISTICS_WIDTHS, strict=True):
                size = self._sizes[name][1]
                added = group[name][number * size : (number + 1) * size]
                extended = added.as_signed() if name == "sum" else added
                register = Signal(width, name=f"{scope}_{name}", reset_less=True)
                before = register & (~fresh).replicate(width)
                with m.If(take):
                    m.d.sync += register.eq(before + extended)
                result[prefix + name] = [register]
            result[f"{prefix}max"] = [largest[number]]
        return result

    def result_steps(self) -> list[Step]:
        return []


class _FloatStatistics(Statistics):
    """Aligned sums."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__(config)
        number_format = config.format
        width, largest = number_format.significand_width, number_format.largest_exponent
        #: By name: how the terms are added, and how much of its exponents a square is.
        bits = config.resolved_align_bits
        self._sums = {
            name: AlignedSum(
                count=config.m,
                width=factors * width,
                largest=factors * largest,
                bits=bits,
                unit=factors * number_format.smallest_exponent,
            )
            for name, factors in (("sums", 1), ("squares", 2))
        }

    @property
    def group_fields(self) -> dict[str, Field]:
        sizes = {}
        for name, kind in self._sums.items():
            sizes[name] = (2, kind.sum_width)
            sizes[f"{name}_reference"] = (1, kind.reference_width)
        flags = dict.fromkeys(("nan", "above", "below"), (2, 1))
        return self._fields(
            {**sizes, **flags, "max": (2, self.config.format.key_width), "last": (1, 1)}
        )

    @property
    def token_fields(self) -> dict[str, Field]:
        sizes = {}
        for name, kind in self._sums.items():
            sizes[f"{name}_integer"] = (2, kind.sum_width)
            sizes[f"{name}_exponent"] = (2, kind.reference_width)
            sizes |= {f"{name}_{flag}": (2, 1) for flag in ("special", "nan", "minus")}
        return self._fields({**sizes, "max": (2, self.config.format.key_width)})

    def group_steps(self) -> list[Step]:
        config, number_format = self.config, self.config.format
        lanes = config.m
        exponent_width = number_format.exponent_width
        size = number_format.significand_width

        def read(m: Module, bundle: Bundle) -> Bundle:
            result: Bundle = {
                name: [] for name in ("significand", "exponent", "negative", "nan", "infinite")
            }
            for lane, code in enumerate(bundle["data"]):
                number = unpack(m, f"data{lane}", code, number_format)
                finite = ~number.is_special
                for name, value in (
                    ("significand", Cat(number.significand) & finite.replicate(size)),
                    ("exponent", number.power & finite.replicate(exponent_width)),
                    ("negative", number.sign),
                    ("nan", number.is_nan),
                    ("infinite", number.is_special & ~number.is_nan),
                ):
                    result[name].append(named(m, f"{name}{lane}", value))
            return result

        def compare(m: Module, bundle: Bundle) -> Bundle:
            result = self._group_largest(m, [code[:-1] for code in bundle["data"]], bundle["mask"])
            result["largest"] = [maximum(m, "largest", bundle["exponent"])]
            result["square"] = [
                named(m, f"square{lane}", value * value)
                for lane, value in enumerate(bundle["significand"])
            ]
            flags = {
                "nan": bundle["nan"],
                "above": _both(bundle["infinite"], [~minus for minus in bundle["negative"]]),
                "below": _both(bundle["infinite"], bundle["negative"]),
            }
            for name, bits in flags.items():
                result[f"group_{name}"] = [
                    named(m, f"all_{name}", any_of(bits)),
                    named(m, f"kept_{name}", any_of(_both(bits, bundle["mask"]))),
                ]
            return result

        def align(m: Module, bundle: Bundle) -> Bundle:
            result: Bundle = {}
            for name, kind in self._sums.items():
                doubled = [Const(0, 1)] * (name == "squares")
                largest = Cat(*doubled, bundle["largest"][0])
                reference = kind.reference(m, f"{name}_reference", largest)
                terms = bundle["square" if name == "squares" else "significand"]
                result[f"{name}_reference"] = [reference]
                result[f"{name}_aligned"] = [
                    kind.align(m, f"{name}{lane}", term, Cat(*doubled, exponent), reference)
                    for lane, (term, exponent) in enumerate(
                        zip(terms, bundle["exponent"], strict=True)
                    )
                ]
            return result

        def add(m: Module, bundle: Bundle) -> Bundle:
            result: Bundle = {}
            for name, kind in self._sums.items():
                signs = bundle["negative"]
                if name == "squares":
                    signs = [Const(0, 1)] * lanes
                terms = bundle[f"{name}_aligned"]
                kept = [
                    term & bit.replicate(len(term))
                    for term, bit in zip(terms, bundle["mask"], strict=True)
                ]
                result[name] = [
                    kind.add(m, f"all_{name}", terms, signs),
                    kind.add(m, f"kept_{name}", kept, _both(signs, bundle["mask"])),
                ]
            for name in ("nan", "above", "below"):
                result[name] = bundle[f"group_{name}"]
            return result

        flags = ("nan", "above", "below")
        bits = config.resolved_align_bits
        return [
            Step(
                read,
                {
                    "significand": lanes * size,
                    "exponent": lanes * exponent_width,
                    **dict.fromkeys(("negative", "nan", "infinite"), lanes),
                },
                levels=6,
            ),
            Step(
                compare,
                {
                    "max": 2 * number_format.key_width,
                    "largest": exponent_width,
                    "square": lanes * 2 * size,
                    **{f"group_{name}": 2 for name in flags},
                },
                ("data", "nan", "infinite"),
                levels=lanes.bit_length() * (exponent_width + 2),
            ),
            Step(
                align,
                {
                    key: value
                    for name, kind in self._sums.items()
                    for key, value in (
                        (f"{name}_reference", kind.reference_width),
                        (f"{name}_aligned", lanes * bits),
                    )
                },
                ("largest", "exponent", "significand", "square"),
                levels=2 * exponent_width + 3 * bits.bit_length(),
            ),
            Step(
                add,
                {
                    **{name: 2 * kind.sum_width for name, kind in self._sums.items()},
                    **dict.fromkeys(flags, 2),
                },
                (
                    "negative", "mask",
                    *(f"{name}_aligned" for name in self._sums),
                    *(f"group_{name}" for name in flags),
                ),
                levels=4 * lanes.bit_length() + 2 * bits.bit_length(),
            ),
        ]  # fmt: skip

    def gather(
        self, m: Module, group: data.View, take: Value, fresh: Value
    ) -> dict[str, Sequence[Value]]:
        result: dict[str, Sequence[Value]] = {
            "max": self._largest(m, group, take=take, fresh=fresh)
        }
        flags = {}
        for name in ("nan", "above", "below"):
            flags[name] = Signal(2, name=f"any_{name}", reset_less=True)
            with m.If(take):
                before = flags[name] & (~fresh).replicate(2)
                m.d.sync += flags[name].eq(before | group[name])
        for name, kind in self._sums.items():
            width = kind.sum_width
            pairs = [
                kind.accumulate(
                    m,
                    f"{scope}_{name}",
                    take=take,
                    fresh=fresh,
                    added=group[name][number * width : (number + 1) * width],
                    reference=group[f"{name}_reference"],
                )
                for number, scope in enumerate(_SCOPES)
            ]
            result[f"{name}_integer"] = [total for total, _ in pairs]
            result[f"{name}_exponent"] = [reference for _, reference in pairs]
            infinite = flags["above"] | flags["below"]
            nan, minus = flags["nan"], Const(0, 2)
            if name == "sums":
                nan, minus = nan | (flags["above"] & flags["below"]), flags["below"]
            result[f"{name}_special"] = [nan | infinite]
            result[f"{name}_nan"] = [nan]
            result[f"{name}_minus"] = [minus]
        return result

    def result_steps(self) -> list[Step]:
        converters = [kind.steps(name, 2) for name, kind in self._sums.items()]

        def rename(_: Module, bundle: Bundle) -> Bundle:
            pairs = {"sum": "sums", "squares": "squares", "max": "max"}
            return {
                prefix + name: [bundle[source][number]]
                for number, prefix in enumerate(("", "kept_"))
                for name, source in pairs.items()
            }

        both = [
            first.beside(second, consumes=(*first.consumes, *second.consumes))
            for first, second in zip(*converters, strict=True)
        ]
        sizes = {
            name: field.count * field.width for name, field in output_payload(self.config).items()
        }
        return [*both, Step(rename, sizes, ("sums",), levels=0)]


def _both(first: Sequence[Value], second: Sequence[Value]) -> list[Value]:
    return [a & b for a, b in zip(first, second, strict=True)]


def _tree(values: Sequence[Value]) -> Value:
    """Sum as a balanced tree."""
    values = list(values)
    while len(values) > 1:
        values = [
            values[k] + values[k + 1] if k + 1 < len(values) else values[k]
            for k in range(0, len(values), 2)
        ]
    return values[0]
