"""The report of the study of the metadata codes: bits, areas and delays, growth."""

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

from tabulate import tabulate

from hw.config import UnitConfig, compression_ratio, metadata_bits
from hw.formats import FORMATS
from synth.area import AreaResult, Design
from synth.growth import FITTED, LAWS, Fit, fit
from synth.plain_matrix import plain_matrix
from synth.study_report import Label, Row, StudyReport

__all__ = ["AREA_FLOW", "CLOCK_FLOW", "CONVERTERS", "CodeReport", "references"]

#: The flow for areas of what has no registers, and the one for clocks.
AREA_FLOW, CLOCK_FLOW = "plain", "timed"

#: Units that do nothing but convert: they are held against a selector.
CONVERTERS = ("encoder", "decoder")

#: What share of a plain compare matrix they may take, without registers and with them.
_BAR, _BAR_WITH_REGISTERS = 0.15, 0.30

#: Number format of what the selectors select from; its keys have 15 bits.
_SELECTED = "bf16"


def references(n: int, m: int) -> tuple[UnitConfig, Design]:
    """What encoders and decoders of a pattern are held against.

    The fastest selector of the project, and the plain compare matrix, both without registers.
    """
    selector = UnitConfig(
        n=n, m=m, unit="selector", dtype=_SELECTED, selector="compare_matrix", pipeline=0
    )
    return selector, plain_matrix(n, m, selector.key_width)


class CodeReport(StudyReport):
    """The study as JSON, as Markdown and as tables on the terminal."""

    _TITLE = "Metadata codes"

    @property
    def _content(self) -> dict[str, Any]:
        content = super()._content
        context = content.pop("context")
        growth = [
            {
                "unit": one.law.unit,
                "code": one.law.code,
                "quantity": one.law.quantity,
                "counted": one.law.counted,
                "coefficient": round(one.coefficient, 6),
                "errors": {f"{n}:{m}": round(error, 4) for (n, m), error in one.errors.items()},
            }
            for one in self._fits
        ]
        codes = [
            {
                "pattern": f"{n}:{m}",
                "code": code,
                "bits": bits,
                "bits_per_element": bits / m,
                "least_bits_per_element": _least(n, m),
                "compression_ratio": {
                    name: round(compression_ratio(n, m, form.width, bits), 6)
                    for name, form in FORMATS.items()
                },
            }
            for n, m, code, bits in self._codes
        ]
        return {"context": context, "codes": codes, **content, "growth": growth}

    @property
    def _units(self) -> list[Row]:
        """The rows without what they are held against."""
        return [row for row in self.rows if not _is_reference(row)]

    @property
    def _codes(self) -> list[tuple[int, int, str, int]]:
        """Patterns and codes of the rows, with the bits of a group."""
        configs = [row.config for row in self._units]
        cases = dict.fromkeys((config.n, config.m, config.metadata) for config in configs)
        return [(n, m, code, metadata_bits(code, n, m)) for n, m, code in cases]

    def _more(self, row: Row) -> dict[str, Any]:
        if _is_reference(row):
            return {}
        config = row.config
        more: dict[str, Any] = {"latency_cycles": config.latency_cycles}
        if config.unit in CONVERTERS:
            of_selector, of_matrix = self._ratios(row)
            more |= {"of_selector": of_selector, "of_matrix": of_matrix, "bar": _bar(config)}
        return more

    def _ratios(self, row: Row) -> tuple[float | None, float | None]:
        """The area over that of the selector, in the same flow, and over that of the matrix."""
        selector, matrix = references(row.config.n, row.config.m)
        return self._ratio(row, selector, row.flow), self._ratio(row, matrix, AREA_FLOW)

    def _ratio(self, row: Row, reference: UnitConfig | Design, flow: str) -> float | None:
        if row.result is None:
            return None
        for other in self.rows:
            if (other.design, other.flow) == (reference, flow) and other.result is not None:
                return round(row.result.area / other.result.area, 6)
        return None

    @property
    def _fits(self) -> list[Fit]:
        """All laws that enough was measured for."""
        fits = []
        for law in LAWS:
            measured = {}
            for row in self._units:
                config, result = row.config, row.result
                if (config.unit, config.metadata) != (law.unit, law.code) or result is None:
                    continue
                if _has_registers(config) or row.flow != AREA_FLOW:
                    continue
                value = result.area if law.quantity == "area" else result.delay_ns
                if value:
                    measured[config.n, config.m] = value
            fitted = fit(law, measured)
            if fitted is not None:
                fits.append(fitted)
        return fits

    @property
    def notes(self) -> list[str]:
        """What must be known to read the tables."""
        unit = self.context["area_unit"]
        return [
            "units with valid/ready; decompressor bf16; pe int8, whose accumulator is a stage; "
            "sparsifier bf16, compare matrix; serial: a lane a cycle",
            "least: ceil(log2 C(M,N)) / M, which no code can go below that gives every mask the "
            "same whole number of bits; ratio: dense bits over stored bits, values of so many bits",
            "of selector: area over that of the project's selector (compare matrix, keys of 15 "
            "bits, no registers), same pattern and flow",
            "of matrix: area over that of the plain compare matrix (keys of 15 bits, no registers, "
            f"no handshake), same pattern, always in the flow {AREA_FLOW}",
            f"bar: whether that is at most {_BAR:.2f}, or {_BAR_WITH_REGISTERS:.2f} with registers",
            f"growth: without registers, flow {AREA_FLOW}; {unit} or ns for each of what is "
            f"counted, fitted to patterns of at least {FITTED} lanes; errors: fitted over "
            "measured, less 1",
            *self._missing,
            *self._marks,
        ]

    @property
    def _empty(self) -> list[str]:
        """Wires in one line: there are many."""
        wires = dict.fromkeys(result.name for result in self.results if not result.cells)
        return [f"no cells, as outputs are inputs or constants: {', '.join(wires)}"] * bool(wires)

    def _table(self, style: str) -> str:
        title = "## {}" if style == "github" else "{}"
        plain = [row for row in self._units if row.flow == AREA_FLOW]
        timed = [row for row in self._units if row.flow == CLOCK_FLOW]
        others = [row for row in self.rows if _is_reference(row)]
        tables = {
            "Bits": self._bits_table(style),
            f"Areas, flow {AREA_FLOW}": self._unit_table(style, plain),
            f"Clocks, flow {CLOCK_FLOW}": self._unit_table(style, timed),
            "What they are held against": self._reference_table(style, others),
            "Growth": self._growth_table(style),
        }
        return "\n\n".join(
            f"{title.format(name)}\n\n{text}" for name, text in tables.items() if text
        )

    def _bits_table(self, style: str) -> str:
        widths = sorted({form.width for form in FORMATS.values()})
        lines = [
            [
                f"{n}:{m}",
                code,
                str(bits),
                f"{bits / m:.4f}",
                f"{_least(n, m):.4f}",
                *(f"{compression_ratio(n, m, width, bits):.3f}" for width in widths),
            ]
            for n, m, code, bits in self._codes
        ]
        headers = ["pattern", "code", "bits", "bits/element", "least"]
        headers += [f"ratio {width} bits" for width in widths]
        return _tabulated(lines, headers, style, left=2)

    def _unit_table(self, style: str, rows: Sequence[Row]) -> str:
        if not rows:
            return ""
        labels = [
            Label("unit", lambda row: row.config.unit),
            Label("pattern", lambda row: f"{row.config.n}:{row.config.m}"),
            Label("code", lambda row: row.config.metadata + ", serial" * row.config.serial),
            Label("pipeline", lambda row: str(row.config.stages), "right"),
        ]

        def ratio(place: int) -> Callable[[Row, AreaResult], str]:
            def text(row: Row, _: AreaResult) -> str:
                if row.config.unit not in CONVERTERS:
                    return "-"
                value = self._ratios(row)[place]
                return "-" if value is None else f"{value:.3f}"

            return text

        def bar(row: Row, _: AreaResult) -> str:
            value = self._ratios(row)[1]
            if row.config.unit not in CONVERTERS or value is None:
                return "-"
            limit = _bar(row.config)
            return f"{'within' if value <= limit else 'above'} {limit:.2f}"

        numbers = {
            **self._costs,
            "interval": lambda _, result: str(result.initiation_interval or "-"),
            "of selector": ratio(0),
            "of matrix": ratio(1),
            "bar": bar,
        }
        return self._rows_as(style, rows, labels, numbers)

    def _reference_table(self, style: str, rows: Sequence[Row]) -> str:
        labels = [
            Label("selector", lambda row: row.design.top),
            Label("flow", lambda row: row.flow),
        ]
        return self._rows_as(style, rows, labels, self._costs) if rows else ""

    def _growth_table(self, style: str) -> str:
        fits = self._fits
        patterns = list(dict.fromkeys(pattern for one in fits for pattern in one.errors))
        lines = [
            [
                one.law.unit,
                one.law.code,
                one.law.quantity,
                one.law.counted,
                f"{one.coefficient:.3g}",
                *(
                    f"{one.errors[pattern]:+.0%}" if pattern in one.errors else "-"
                    for pattern in patterns
                ),
            ]
            for one in fits
        ]
        headers = ["unit", "code", "quantity", "counted", "each"]
        headers += [f"error {n}:{m}" for n, m in patterns]
        return _tabulated(lines, headers, style, left=4) if fits else ""


def _is_reference(row: Row) -> bool:
    return isinstance(row.design, Design) or row.design.unit == "selector"


def _has_registers(config: UnitConfig) -> bool:
    return config.stages > 0 or config.serial


def _bar(config: UnitConfig) -> float:
    return _BAR_WITH_REGISTERS if _has_registers(config) else _BAR


def _least(n: int, m: int) -> float:
    """The least bits an element of any code with the same whole number of bits for every mask."""
    return (comb(m, n) - 1).bit_length() / m


def _tabulated(
    lines: Sequence[Sequence[str]], headers: Sequence[str], style: str, *, left: int
) -> str:
    """A table whose first columns are words."""
    align = ["left"] * left + ["right"] * (len(headers) - left)
    return tabulate(lines, headers, tablefmt=style, disable_numparse=True, colalign=align)
