"""The report of the study of the PE: areas and delays, and their shares of a dense PE."""

from dataclasses import replace
from typing import Any

from hw.config import UnitConfig
from synth.area import AreaResult, Design
from synth.pe_buffer import waiting_buffer
from synth.study_report import Label, Row, StudyReport

__all__ = ["SIDES", "PeReport", "dense"]

#: What is packed, N of M: activations, with all weights; weights, with all activations; both.
SIDES = ("activations", "weights", "both")

#: Delays further apart than that are no fair comparison: mappers trade area for delay.
_FAIR = 0.15


def dense(config: UnitConfig) -> UnitConfig:
    """The PE of the same formats that keeps all lanes: no metadata and no choice of weights."""
    return replace(
        config,
        n=config.m,
        metadata="bitmap",
        weights=None,
        weight_select="mux",
        outstanding=None,
        check=False,
    )


class PeReport(StudyReport):
    """The study as JSON, as Markdown and as tables on the terminal."""

    _TITLE = "PE"

    def _more(self, row: Row) -> dict[str, Any]:
        if isinstance(row.design, Design):
            return {}
        area, delay = self._ratios(row)
        return {
            "of_dense": area,
            "delay_of_dense": delay,
            "buffer": self._buffer(row),
            "of_dense_without_buffer": self._without_buffer(row),
        }

    def _result(self, design: UnitConfig | Design) -> AreaResult | None:
        for row in self.rows:
            if row.design == design:
                return row.result
        return None

    def _ratios(self, row: Row) -> tuple[float | None, float | None]:
        """Area and delay over those of the dense PE of the same M, formats and options."""
        reference = self._result(dense(row.config))
        if reference is None or row.result is None:
            return None, None
        delay = None
        if row.result.delay_ns and reference.delay_ns:
            delay = round(row.result.delay_ns / reference.delay_ns, 6)
        return round(row.result.area / reference.area, 6), delay

    def _buffer(self, row: Row) -> float | None:
        """Area of the values that wait for their weights, mapped by itself."""
        if row.config.weight_select != "gather":
            return None
        result = self._result(waiting_buffer(row.config))
        return None if result is None else round(result.area, 6)

    def _without_buffer(self, row: Row) -> float | None:
        """The area without that, over that of the dense PE."""
        buffer, reference = self._buffer(row), self._result(dense(row.config))
        if buffer is None or reference is None or row.result is None:
            return None
        return round((row.result.area - buffer) / reference.area, 6)

    @property
    def notes(self) -> list[str]:
        """What must be known to read the table."""
        return [
            "valid/ready; accumulator of 32 bits, in PEs of floats as wide as their 28 bits of "
            "alignment need, with a rounding to fp32 behind it",
            "dense: M of M lanes without a check, which has neither metadata nor a choice of "
            "weights; sparse: what is packed, N of M",
            "gather: without the memory; buffer: what waits for weights in it, 4 groups, mapped by "
            "itself",
            "of dense: area and delay over those of the dense PE of as many lanes; without: area "
            f"without the buffer; far: delays more than {_FAIR:.0%} apart",
            *self._missing,
            *self._marks,
        ]

    def _table(self, style: str) -> str:
        labels = [
            Label("dtype", lambda row: row.config.dtype),
            Label("pattern", _pattern),
            Label("sparse", _side),
            Label("weights", lambda row: "-" if _is_dense(row) else row.config.weight_select),
            Label("code", lambda row: "-" if _is_dense(row) else row.config.metadata),
            Label("check", lambda row: "on" if row.config.check else "off"),
        ]

        def ratio(row: Row, _: AreaResult) -> str:
            return _share(self._ratios(row)[0])

        def delay(row: Row, _: AreaResult) -> str:
            value = self._ratios(row)[1]
            is_far = value is not None and abs(value - 1) > _FAIR
            return f"{_share(value)}{' far' if is_far else ''}"

        def buffer(row: Row, _: AreaResult) -> str:
            value = self._buffer(row)
            return "-" if value is None else f"{value:,.1f}"

        numbers = {
            **self._costs,
            "of dense": ratio,
            "delay of dense": delay,
            "buffer": buffer,
            "without": lambda row, _: _share(self._without_buffer(row)),
        }
        units = [row for row in self.rows if isinstance(row.design, UnitConfig)]
        return self._rows_as(style, units, labels, numbers)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _is_dense(row: Row) -> bool:
    return row.config == dense(row.config)


def _pattern(row: Row) -> str:
    """The pattern of what is packed."""
    n, m = row.config.weights or (row.config.n, row.config.m)
    return f"{n}:{m}"


def _side(row: Row) -> str:
    """One of `SIDES`, or ``dense``."""
    if _is_dense(row):
        return "dense"
    if row.config.weights is None:
        return "activations"
    return "weights" if row.config.n == row.config.m else "both"
