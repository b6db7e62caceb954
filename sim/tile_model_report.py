"""What decoder layers cost on a tile, dense and sparse, as tables, JSON and Markdown."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tabulate import tabulate

from hw.config import METADATA, ConfigError, UnitConfig, pattern_list
from hw.version import VERSION
from sim.model_shapes import LINEARS, MODELS
from sim.tile_cost import (
    ENERGY_SOURCE,
    Cost,
    Energies,
    System,
    matrix_cost,
    multiplication_energy,
)
from sw.errors import InputError

__all__ = ["PHASES", "WEIGHT_READS", "Request", "Row", "layer_rows", "report", "update"]

#: Many tokens of one text at once; one token of each of some texts.
PHASES = ("prefill", "decode")

#: Which rows of weights are read: all; those that some token keeps; the latter in decoding only.
WEIGHT_READS = ("auto", "mux", "gather")

#: The marks between which generated text stands in a page.
_MARK = "<!-- tile model: {} -->"

#: The model whose table the documentation shows.
_SHOWN = "Llama-3.1-8B"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to compute the costs of.

    Parameters
    ----------
    models
        Names of `MODELS`.
    tokens
        Tokens of each phase at once: of a text in prefill, of as many texts in decoding.
    patterns, codes
        N:M, and the codes of packed activations.
    linears
        Those of `LINEARS` that count.
    tile
        Other arguments of the tile's `UnitConfig`.
    weight_reads
        One of `WEIGHT_READS`.
    system
        What is around the tile, but for `System.gather`.
    energy
        Fields of `Energies` that are not the published ones.

    Raises
    ------
    InputError
        A value breaks a rule.
    """

    models: Sequence[str] = tuple(MODELS)
    tokens: Mapping[str, int] = field(default_factory=lambda: {"prefill": 2048, "decode": 1})
    patterns: Sequence[tuple[int, int]] = ((2, 4), (4, 8), (8, 16), (16, 32))
    codes: Sequence[str] = METADATA
    linears: Sequence[str] = LINEARS[:-1]
    tile: Mapping[str, Any] = field(
        default_factory=lambda: {"dtype": "int8", "rows": 4, "cols": 64}
    )
    weight_reads: str = "auto"
    system: System = field(default_factory=System)
    energy: Mapping[str, float] = field(default_factory=dict)
    energies: Energies = field(init=False)

    def __post_init__(self) -> None:
        for name, chosen, known in (
            ("model", self.models, MODELS),
            ("phase", self.tokens, PHASES),
            ("codes", self.codes, METADATA),
            ("linears", self.linears, LINEARS),
            ("weight-reads", [self.weight_reads], WEIGHT_READS),
        ):
            for value in chosen:
                if value not in known:
                    raise InputError(f"{name} must be of {', '.join(known)}, not {value!r}")
            if len(set(chosen)) < len(chosen):
                raise InputError(f"{name} must be different ones, not {','.join(chosen)}")
        for phase, count in self.tokens.items():
            if count < 1:
                option = "tokens" if phase == "prefill" else "batch"
                raise InputError(f"{option} must be at least 1, not {count}")
        config, *_ = [self.config(n, m) for n, m in self.patterns]
        energy = dict(self.energy)
        if "multiplication" not in energy:
            energy["multiplication"] = multiplication_energy(config)
        object.__setattr__(self, "energies", Energies(**energy))

    def config(self, n: int, m: int, code: str = METADATA[0]) -> UnitConfig:
        """The tile of a pattern; N = M is the dense one.

        Raises
        ------
        InputError
            There is no such tile.
        """
        # No metadata in a dense tile.
        options = {**self.tile} if n == m else {**self.tile, "metadata": code}
        try:
            return UnitConfig(unit="tile", n=n, m=m, **options)
        except ConfigError as error:
            raise InputError(f"{error.parameter.replace('_', '-')} {error.rule}") from error

    def gather(self, phase: str) -> bool:
        """Whether rows of weights that no token keeps are not read in a phase."""
        return self.weight_reads == "gather" or (self.weight_reads == "auto" and phase == "decode")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Cost of a decoder layer in a phase with a pattern and a code.

    Parameters
    ----------
    model, phase
        What is computed.
    config
        On which tile.
    costs
        Of each linear.
    equal_cycles
        Cycles of a dense tile with as many multipliers, which has N lanes; None for N = 1, as
        tiles have at least two.
    energies
        Of each operation.
    dense
        The dense tile of as many lanes on the same; None: this is it.
    """

    model: str
    phase: str
    config: UnitConfig
    costs: Mapping[str, Cost]
    equal_cycles: int | None
    energies: Energies
    dense: "Row | None"

    @property
    def pattern(self) -> str:
        """N:M."""
        return pattern_list([(self.config.n, self.config.m)])

    @property
    def code(self) -> str | None:
        """Code of the metadata; None where there is none."""
        return None if self.config.is_dense else self.config.metadata

    @property
    def cost(self) -> Cost:
        """The sum of all linears."""
        return sum(self.costs.values(), Cost())

    @property
    def energy(self) -> float:
        """The model's energy in pJ."""
        return self.cost.energy(self.energies, is_sparse=not self.config.is_dense)

    @property
    def of_dense(self) -> dict[str, float | None]:
        """Shares: cycles of the dense tile with as many multipliers, the rest of this one's."""
        dense = self.dense or self
        ours, theirs = self.cost, dense.cost
        return {
            "cycles": None if self.equal_cycles is None else ours.cycles / self.equal_cycles,
            "activations": ours.activation_bytes / theirs.activation_bytes,
            "weights": ours.weight_bytes / theirs.weight_bytes,
            "bytes": ours.memory_bytes / theirs.memory_bytes,
            "energy": self.energy / dense.energy,
        }


def layer_rows(request: Request, model: str) -> list[Row]:
    """Costs of a decoder layer: for each phase of dense tiles of each M, then of each pattern."""
    linears = [one for one in MODELS[model].linears if one.name in request.linears]
    rows: list[Row] = []
    for phase, tokens in request.tokens.items():
        system = replace(request.system, gather=request.gather(phase))

        def row(
            n: int, m: int, code: str, dense: Row | None, phase: str = phase,
            tokens: int = tokens, system: System = system,
        ) -> Row:  # fmt: skip
            config = request.config(n, m, code)
            costs = {one.name: matrix_cost(config, one, tokens, system) for one in linears}
            equal = None
            if n > 1:
                equals = request.config(n, n)
                equal = sum(matrix_cost(equals, one, tokens, system).cycles for one in linears)
            return Row(
                model=model, phase=phase, config=config, costs=costs, equal_cycles=equal,
                energies=request.energies, dense=dense,
            )  # fmt: skip

        dense = {
            m: row(m, m, METADATA[0], None) for m in dict.fromkeys(m for _, m in request.patterns)
        }
        rows += dense.values()
        rows += [
            row(n, m, code, dense[m])
            for n, m in request.patterns
            if n < m
            for code in request.codes
        ]
    return rows


def report(request: Request, command: str, style: str = "text") -> str:
    """All tables.

    Parameters
    ----------
    request
        What to compute.
    command
        The command that makes the report.
    style
        ``text``, ``markdown`` or ``json``.
    """
    rows = {model: layer_rows(request, model) for model in request.models}
    if style == "json":
        return _json(request, command, rows)
    head = f"{_title(request)}; of each model one decoder layer"
    if style == "text":
        parts = [head]
        for model, of_model in rows.items():
            parts += [f"{model}, {MODELS[model].layers} layers", _table(of_model, "simple")]
        return "\n\n".join([*parts, "\n".join(_notes(request))]) + "\n"
    parts = ["# Layers on a tile", f"    {command}", head]
    for model, of_model in rows.items():
        parts += [f"## {model}", _table(of_model, "github")]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in _notes(request))]) + "\n"


def _title(request: Request) -> str:
    config = request.config(*request.patterns[0])
    formats = " by ".join(dict.fromkeys((config.dtype, config.weight_format.name)))
    phases = {
        "prefill": f"prefill of {request.tokens.get('prefill', 0):,} tokens",
        "decode": f"decoding a token of {request.tokens.get('decode', 0):,} text"
        + "s" * (request.tokens.get("decode", 0) > 1),
    }
    return (
        f"tile {config.rows} x {config.cols}, {formats}; "
        f"{', '.join(phases[phase] for phase in request.tokens)}"
    )


_HEADERS = (
    "phase", "pattern", "code", "cycles", "of N lanes", "activations MB", "weights MB",
    "results MB", "all MB", "of dense", "bytes a cycle", "mJ", "of dense",
)  # fmt: skip


def _table(rows: Sequence[Row], style: str) -> str:
    return _aligned([_cells(row) for row in rows], _HEADERS, style, 3)


def _cells(row: Row) -> list[str]:
    cost, shares = row.cost, row.of_dense
    is_dense = row.dense is None
    return [
        row.phase,
        row.pattern,
        row.code or "-",
        f"{cost.cycles:,}",
        "-" if is_dense or shares["cycles"] is None else f"{shares['cycles']:.3f}",
        *(
            f"{count / 1e6:,.3f}"
            for count in (
                cost.activation_bytes, cost.weight_bytes, cost.result_bytes, cost.memory_bytes,
            )
        ),
        "-" if is_dense else f"{shares['bytes']:.3f}",
        f"{cost.memory_bytes / cost.cycles:,.1f}",
        f"{row.energy / 1e9:,.3f}",
        "-" if is_dense else f"{shares['energy']:.3f}",
    ]  # fmt: skip


def _notes(request: Request) -> list[str]:
    energies, system = request.energies, request.system
    reads = {phase: "gather" if request.gather(phase) else "mux" for phase in request.tokens}
    return [
        "cycles: as the hardware's, when nothing stalls; each linear by itself",
        "of N lanes: of a dense tile with N lanes, which has as many multipliers",
        f"bytes: of memory, with a buffer of {system.buffer:,} bytes; activations "
        f"{'packed' if system.packed else 'with all lanes'}; results of {system.result_width} bits",
        "weights: "
        + ", ".join(
            f"{phase} {'rows of kept lanes' if way == 'gather' else 'all rows'}"
            for phase, way in reads.items()
        ),
        "bytes a cycle: what memory must give and take if the tile is not to wait",
        f"mJ: a model, not measured: {energies.multiplication:g} pJ a multiplication, "
        f"{energies.selection:g} of it for selection, {energies.buffer:g} pJ a bit of buffer, "
        f"{energies.memory:g} pJ a bit of memory",
        f"linears: {', '.join(request.linears)}; attention itself is not counted",
    ]


def _json(request: Request, command: str, rows: Mapping[str, Sequence[Row]]) -> str:
    content = {
        "context": {
            "project": f"nmsparse {VERSION}",
            "command": command,
            "tile": dict(request.tile),
            "system": {**asdict(request.system), "gather": request.weight_reads},
            "energies": asdict(request.energies),
            "energy_source": ENERGY_SOURCE,
            "models": {model: asdict(MODELS[model]) for model in request.models},
        },
        "rows": [_record(request, row) for of_model in rows.values() for row in of_model],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _record(request: Request, row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "phase": row.phase,
        "tokens": request.tokens[row.phase],
        "pattern": row.pattern,
        "code": row.code,
        **asdict(row.cost),
        "memory_bytes": row.cost.memory_bytes,
        "energy_pj": round(row.energy),
        "equal_multipliers_cycles": row.equal_cycles,
        "of_dense": {
            name: None if share is None else round(share, 6) for name, share in row.of_dense.items()
        },
        "linears": {name: asdict(cost) for name, cost in row.costs.items()},
    }


def _summary() -> str:
    """Bytes of all models, patterns and codes: the table of the overview."""
    request = Request()
    rows = {model: layer_rows(request, model) for model in request.models}

    def cell(model: str, label: tuple[str, str | None], what: str) -> str:
        found = [row for row in rows[model] if (row.pattern, row.code) == label]
        if what == "share":
            return " / ".join(f"{row.of_dense['bytes']:.3f}" for row in found)
        return " / ".join(f"{row.cost.memory_bytes / 1e6:,.1f} MB" for row in found)

    sparse = [pattern for pattern in request.patterns if pattern[0] < pattern[1]]
    widest = max(m for _, m in sparse)
    table = [
        ["dense", "", *(cell(model, (f"{widest}:{widest}", None), "MB") for model in rows)],
        *(
            [f"{n}:{m}", f"`{code}`", *(cell(model, (f"{n}:{m}", code), "share") for model in rows)]
            for n, m in sparse
            for code in request.codes
        ),
    ]
    shares = [row for of_model in rows.values() for row in of_model if row.dense is not None]
    ranges = {
        (phase, what): _range([row.of_dense[what] for row in shares if row.phase == phase])
        for phase in PHASES
        for what in ("cycles", "energy")
    }
    return "\n".join(
        [
            _aligned(table, ["", "code", *rows], "github", 2),
            "",
            "Cycles are "
            f"{ranges['prefill', 'cycles']} / {ranges['decode', 'cycles']} of those of a dense "
            "tile with as many multipliers, energy by the model "
            f"{ranges['prefill', 'energy']} / {ranges['decode', 'energy']} of the dense tile's.",
        ]
    )


def _range(shares: Sequence[float | None]) -> str:
    """From the least to the most, to three digits."""
    numbers = sorted({f"{share:.3f}" for share in shares if share is not None})
    return numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


#: What stands between the marks of each name.
_GENERATED = {
    "bytes": _summary,
    _SHOWN: lambda: _table(layer_rows(Request(), _SHOWN), "github"),
}


def update(page: str) -> str:
    """A page with the text between its marks made anew, from the defaults of everything.

    Marks are two equal lines ``<!-- tile model: NAME -->`` with NAME ``bytes`` or the shown model.

    Raises
    ------
    InputError
        The page has no marks, or not two of a name.
    """
    marks = re.findall(_MARK.format("(.*)"), page)
    if not marks:
        raise InputError(f"page must have marks {_MARK.format('bytes')}, not none")
    for name in dict.fromkeys(marks):
        mark = _MARK.format(name)
        if name not in _GENERATED:
            raise InputError(f"marks must be of {', '.join(_GENERATED)}, not {name!r}")
        if marks.count(name) != 2:
            raise InputError(f"marks {mark} must be two, not {marks.count(name)}")
        before, _, after = page.split(mark)
        page = "\n\n".join([f"{before}{mark}", _GENERATED[name](), f"{mark}{after}"])
    return page


def _aligned(rows: Sequence[Sequence[str]], headers: Sequence[str], style: str, names: int) -> str:
    align = ["left"] * names + ["right"] * (len(headers) - names)
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)
