"""The report of the study of the PE: areas and delays, and their shares of a dense PE."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hw.config import UnitConfig
from synth.area import AreaResult
from synth.study_report import Label, Row, StudyReport

__all__ = ["PeReport", "dense"]

#: Delays further apart than that are no fair comparison: mappers trade area for delay.
_FAIR = 0.15


def dense(config: UnitConfig) -> UnitConfig:
    """The PE of the same formats that keeps all lanes: no metadata and no choice of weights."""
    return replace(
        config,
        n=config.m,
        metadata="bitmap",
        weight_select="mux",
        outstanding=None,
        check=False,
    )


class PeReport(StudyReport):
    """The study as JSON, as Markdown and as tables on the terminal."""

    _TITLE = "PE"

    def _more(self, row: Row) -> dict[str, Any]:
        area, delay = self._ratios(row)
        return {"of_dense": area, "delay_of_dense": delay}

    def _ratios(self, row: Row) -> tuple[float | None, float | None]:
        """Area and delay over those of the dense PE of the same M, formats and options."""
        reference = dense(row.config)
        for other in self.rows:
            result = other.result
            if other.config == reference and result is not None and row.result is not None:
                delay = None
                if row.result.delay_ns and result.delay_ns:
                    delay = round(row.result.delay_ns / result.delay_ns, 6)
                return round(row.result.area / result.area, 6), delay
        return None, None

    @property
    def notes(self) -> list[str]:
        """What must be known to read the table."""
        return [
            "valid/ready, accumulator of 32 bits; dense: M of M lanes without a check, which has "
            "neither metadata nor a choice of weights",
            "gather: with its buffer for values that wait for their weights, and without the "
            "memory",
            "of dense: area and delay over those of the dense PE of as many lanes; "
            f"far: delays more than {_FAIR:.0%} apart",
            *self._missing,
            *self._marks,
        ]

    def _table(self, style: str) -> str:
        labels = [
            Label("dtype", lambda row: row.config.dtype),
            Label("pattern", lambda row: f"{row.config.n}:{row.config.m}"),
            Label("weights", _weights),
            Label("code", lambda row: "-" if _is_dense(row) else row.config.metadata),
            Label("check", lambda row: "on" if row.config.check else "off"),
        ]

        def ratio(place: int) -> Callable[[Row, AreaResult], str]:
            def text(row: Row, _: AreaResult) -> str:
                value = self._ratios(row)[place]
                if value is None:
                    return "-"
                is_far = place == 1 and abs(value - 1) > _FAIR
                return f"{value:.3f}{' far' if is_far else ''}"

            return text

        numbers = {**self._costs, "of dense": ratio(0), "delay of dense": ratio(1)}
        return self._rows_as(style, self.rows, labels, numbers)


def _is_dense(row: Row) -> bool:
    return row.config == dense(row.config)


def _weights(row: Row) -> str:
    return "dense" if _is_dense(row) else row.config.weight_select
