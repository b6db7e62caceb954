"""The report of the study of tiles: parts, sums of them, and what the sums are checked with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tabulate import tabulate

from hw.config import UnitConfig
from hw.units.tile import part_counts
from synth.area import AreaResult, Design
from synth.liberty import Library
from synth.render import Key
from synth.study_report import Label, Row, StudyReport

__all__ = ["Size", "TileReport", "dense_of"]

#: Rows and columns.
Size = tuple[int, int]


def dense_of(config: UnitConfig) -> UnitConfig:
    """The tile that keeps all lanes, with everything else the same."""
    return replace(config, n=config.m)


class TileReport(StudyReport):
    """The study as JSON, as Markdown and as tables on the terminal.

    Parameters
    ----------
    rows, library, command, baseline
        As of `StudyReport`.
    sizes
        Rows and columns of the tiles that are added up.
    """

    _TITLE = "Tiles"

    def __init__(
        self,
        rows: Sequence[Row],
        library: Library,
        command: str,
        baseline: Mapping[Key, Mapping[str, Any]] | None = None,
        *,
        sizes: Sequence[Size],
    ) -> None:
        self.sizes = sizes
        super().__init__(rows, library, command, baseline)

    @property
    def _content(self) -> dict[str, Any]:
        tiles = [
            {
                **_names(tile),
                "area": _rounded(self._sum(tile)),
                "of_dense": _rounded(self._of_dense(tile)),
                "shares": {name: _rounded(share) for name, share in self._shares(tile).items()},
            }
            for tile in self._tiles
        ]
        whole = [
            {
                **_names(row.config),
                "area": None if row.result is None else round(row.result.area, 6),
                "sum": _rounded(self._sum(row.config)),
                "difference": _rounded(self._difference(row)),
            }
            for row in self._whole
        ]
        return {**super()._content, "tiles": tiles, "whole": whole}

    def _more(self, row: Row) -> dict[str, Any]:
        if isinstance(row.design, Design):
            return {"part": _part(row.design)}
        return {}

    @property
    def _parts(self) -> list[Row]:
        """The rows that are parts of tiles."""
        return [row for row in self.rows if isinstance(row.design, Design)]

    @property
    def _pes(self) -> list[Row]:
        """Those that are PEs by themselves."""
        return [
            row
            for row in self.rows
            if isinstance(row.design, UnitConfig) and row.design.unit == "pe"
        ]

    @property
    def _whole(self) -> list[Row]:
        """Those that are whole tiles."""
        return [
            row
            for row in self.rows
            if isinstance(row.design, UnitConfig) and row.design.unit == "tile"
        ]

    @property
    def _tiles(self) -> list[UnitConfig]:
        """Tiles of all patterns in all sizes."""
        configs = dict.fromkeys(_tile(row.design) for row in self._parts)
        return [replace(tile, rows=r, cols=c) for r, c in self.sizes for tile in configs]

    def _areas(self, tile: UnitConfig) -> dict[str, float] | None:
        """Area of each part, all that there are of it; None where one was not measured."""
        areas = {}
        for row in self._parts:
            if _fits(_tile(row.design), tile):
                if row.result is None:
                    return None
                areas[_part(row.design)] = row.result.area
        counts = part_counts(tile)
        if areas.keys() != counts.keys():
            return None
        return {part: areas[part] * count for part, count in counts.items()}

    def _sum(self, tile: UnitConfig) -> float | None:
        areas = self._areas(tile)
        return None if areas is None else sum(areas.values())

    def _shares(self, tile: UnitConfig) -> dict[str, float | None]:
        """What share of a tile its parts have."""
        areas = self._areas(tile)
        if areas is None:
            return dict.fromkeys(part_counts(tile))
        return {part: area / sum(areas.values()) for part, area in areas.items()}

    def _of_dense(self, tile: UnitConfig) -> float | None:
        return _ratio(self._sum(tile), self._sum(dense_of(tile)))

    def _difference(self, row: Row) -> float | None:
        """By what share of the whole tile the sum of the parts is off."""
        ratio = _ratio(self._sum(row.config), row.result.area if row.result else None)
        return None if ratio is None else ratio - 1

    @property
    def notes(self) -> list[str]:
        """What must be known to read the tables."""
        return [
            "row: a sparsifier, its decoder and the registers in front of the PEs; in a dense tile "
            "registers alone; column: weights at work and those that wait",
            "sum: the area of each part as often as there are of it; of dense: over that of the "
            "tile of the same size that keeps all lanes",
            "PEs that decode themselves: if the metadata went to each of them; without a check, as "
            "in the tile",
            "as a whole: the tile's modules flattened and mapped together; off: the sum over that, "
            "less 1",
            *self._missing,
            *self._marks,
        ]

    def _table(self, style: str) -> str:
        title = "## {}" if style == "github" else "{}"
        tables = {
            "Parts": self._part_table(style),
            "PEs that decode themselves": self._pe_table(style),
            "Tiles": self._tile_table(style),
            "As a whole": self._whole_table(style),
        }
        return "\n\n".join(
            f"{title.format(name)}\n\n{text}" for name, text in tables.items() if text
        )

    def _part_table(self, style: str) -> str:
        labels = [
            Label("pattern", lambda row: _pattern(_tile(row.design))),
            Label("part", lambda row: _part(row.design)),
        ]
        return self._rows_as(style, self._parts, labels, self._costs)

    def _pe_table(self, style: str) -> str:
        labels = [
            Label("pattern", lambda row: _pattern(row.config)),
            Label("code", lambda row: row.config.metadata),
        ]

        def of_shared(row: Row, result: AreaResult) -> str:
            shared = [
                part.result
                for part in self._parts
                if _part(part.design) == "pe"
                and _pattern(_tile(part.design)) == _pattern(row.config)
            ]
            return _number(_ratio(result.area, shared[0].area if shared[0] else None), ".3f")

        numbers = {**self._costs, "of the tile's PE": of_shared}
        return self._rows_as(style, self._pes, labels, numbers) if self._pes else ""

    def _tile_table(self, style: str) -> str:
        lines = []
        for tile in self._tiles:
            shares = self._shares(tile)
            lines.append(
                [
                    f"{tile.rows} x {tile.cols}",
                    _pattern(tile),
                    _number(self._sum(tile), ",.0f"),
                    _number(self._of_dense(tile), ".3f"),
                    *(_number(shares[part], ".2%") for part in ("row", "column", "pe")),
                ]
            )
        headers = ["tile", "pattern", f"sum {self.context['area_unit']}", "of dense"]
        headers += ["rows", "columns", "PEs"]
        return _tabulated(lines, headers, style)

    def _whole_table(self, style: str) -> str:
        if not self._whole:
            return ""
        labels = [
            Label("tile", lambda row: f"{row.config.rows} x {row.config.cols}"),
            Label("pattern", lambda row: _pattern(row.config)),
        ]
        numbers = {
            **self._costs,
            "sum": lambda row, _: _number(self._sum(row.config), ",.0f"),
            "off": lambda row, _: _number(self._difference(row), "+.2%"),
        }
        return self._rows_as(style, self._whole, labels, numbers)

    @property
    def _costs(self) -> dict[str, Callable[[Row, AreaResult], str]]:
        """Columns of what every row costs."""

        def area(_: Row, result: AreaResult) -> str:
            return f"{result.area:,.1f}{self._change(result.area, self._before(result), 'area')}"

        return {
            f"area {self.context['area_unit']}": area,
            "combinational": lambda _, result: f"{result.combinational:,.1f}",
            "sequential": lambda _, result: f"{result.sequential:,.1f}",
            "delay ns": lambda _, result: self._delay(result, self._before(result)),
        }


def _tile(design: UnitConfig | Design) -> UnitConfig:
    """The tile that a part is of.

    Raises
    ------
    TypeError
        It is no part of one.
    """
    if not isinstance(design, Design) or design.config is None:
        raise TypeError(f"{design.top} must be a part of a tile")
    return design.config


def _part(design: UnitConfig | Design) -> str:
    """What a part is, the end of its module's name."""
    return design.top.removeprefix(f"{_tile(design).top}_")


def _fits(tile: UnitConfig, other: UnitConfig) -> bool:
    """Whether two tiles have the same parts."""
    return replace(tile, rows=other.rows, cols=other.cols) == other


def _pattern(config: UnitConfig) -> str:
    return f"{config.n}:{config.m}"


def _names(tile: UnitConfig) -> dict[str, Any]:
    return {"pattern": _pattern(tile), "rows": tile.rows, "cols": tile.cols}


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _tabulated(lines: Sequence[Sequence[str]], headers: Sequence[str], style: str) -> str:
    """A table whose first two columns are words."""
    align = ["left"] * 2 + ["right"] * (len(headers) - 2)
    return tabulate(lines, headers, tablefmt=style, disable_numparse=True, colalign=align)
