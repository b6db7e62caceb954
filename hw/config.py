"""The configuration object: from it come both the gateware (`hw`) and the golden model (`sw`)."""

import operator
import re
from dataclasses import dataclass
from typing import Any

from hw.formats import FORMATS, INTEGER_FORMATS, NumberFormat
from hw.verilog_keywords import VERILOG_KEYWORDS

__all__ = ["GOALS", "METADATA", "OVERFLOWS", "SELECTORS", "UNITS", "ConfigError", "UnitConfig"]

#: What each unit does, in one line.
UNITS: dict[str, str] = {
    "sparsifier": "keep N of M activations, pack them, describe them in metadata",
    "selector": "mask of the N largest of M activations",
    "encoder": "mask to metadata",
    "decoder": "metadata to mask, illegal codes reported",
    "pe": "sparse dot product of packed activations with dense weights",
}

#: Architectures of the top-N-of-M selector, all with the same function.
SELECTORS: tuple[str, ...] = ("compare_matrix",)

#: What `selector="auto"` aims at.
GOALS: tuple[str, ...] = ("area", "delay", "density")

#: Codes of the metadata.
METADATA: tuple[str, ...] = ("bitmap", "index")

#: What an accumulator does beyond its range.
OVERFLOWS: tuple[str, ...] = ("wrap", "saturate")

MAX_M = 64
MAX_PIPELINE = 32
MAX_ACC_WIDTH = 64

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Parameters that shape each unit, in the order of the canonical command.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "sparsifier": ("dtype", "selector", "metadata", "pipeline"),
    "selector": ("dtype", "selector", "pipeline"),
    "encoder": ("metadata", "pipeline"),
    "decoder": ("metadata", "pipeline"),
    "pe": (
        "dtype", "weight_dtype", "metadata", "acc_width", "overflow", "check", "pipeline",
    ),
}  # fmt: skip


class ConfigError(ValueError):
    """A parameter of a unit has a value that breaks a rule.

    Attributes
    ----------
    parameter
        Name of the parameter.
    rule
        The rest of the sentence: the rule and the value.
    """

    def __init__(self, parameter: str, rule: str) -> None:
        super().__init__(f"{parameter} {rule}")
        self.parameter = parameter
        self.rule = rule


@dataclass(frozen=True, kw_only=True)
class UnitConfig:
    """Everything that decides what a unit computes and how it is built.

    Parameters
    ----------
    n, m
        Pattern: N of every M lanes are kept; 1 <= n <= m, 2 <= m <= 64.
    unit
        One of `UNITS`.
    dtype
        Number format of the activations, one of `hw.formats.FORMATS`; integers only in a PE.
    selector, goal
        Architecture of the selector, or ``auto``: the best one known for the goal.
    metadata
        Code of the metadata, one of `METADATA`.
    pipeline
        Register stages between input and output: the latency in cycles.  0 is combinational, 1
        registers the outputs.  A PE has at least 1, its accumulator.
    weight_dtype
        Number format of a PE's weights; None: the activations' format.
    acc_width
        Bits of a PE's accumulator and of its result.
    overflow
        ``wrap``: the accumulator counts modulo 2**acc_width; ``saturate``: it is limited to its
        range after each group.
    check
        Whether a PE looks for illegal metadata; without, it trusts it and `o_error` is 0.
    name
        Name of the emitted top module and files; None: `nm_<unit>_<n>_<m>_...`.

    Raises
    ------
    ConfigError
        A value breaks a rule; the text is subject, rule, value.
    TypeError
        A value is of the wrong kind.
    """

    n: int
    m: int
    unit: str = "sparsifier"
    dtype: str = "bf16"
    selector: str = "auto"
    goal: str = "density"
    metadata: str = "bitmap"
    pipeline: int = 1
    weight_dtype: str | None = None
    acc_width: int = 32
    overflow: str = "wrap"
    check: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        for parameter in ("n", "m", "pipeline", "acc_width"):
            value = getattr(self, parameter)
            try:
                integer = operator.index(value)
            except TypeError as error:
                raise TypeError(f"{parameter} must be an integer, not {value!r}") from error
            object.__setattr__(self, parameter, integer)
        if not isinstance(self.check, bool):
            raise TypeError(f"check must be True or False, not {self.check!r}")

        self._check_choice("unit", UNITS)
        self._check_range("m", 2, MAX_M)
        if not 1 <= self.n <= self.m:
            raise ConfigError("n", f"must be between 1 and m = {self.m}, not {self.n}")
        self._check_choice("dtype", FORMATS)
        self._check_choice("selector", ("auto", *SELECTORS))
        self._check_choice("goal", GOALS)
        self._check_choice("metadata", METADATA)
        self._check_choice("overflow", OVERFLOWS)
        if self.weight_dtype is not None:
            self._check_choice("weight_dtype", FORMATS)
        if self.unit == "pe":
            self._check_choice("dtype", INTEGER_FORMATS, " in a pe")
            if self.weight_dtype is not None:
                self._check_choice("weight_dtype", INTEGER_FORMATS, " in a pe")
            self._check_range("pipeline", 1, MAX_PIPELINE, " in a pe, whose accumulator is a stage")
            self._check_range("acc_width", 2, MAX_ACC_WIDTH)
        else:
            self._check_range("pipeline", 0, MAX_PIPELINE)
        if self.name is not None:
            if not isinstance(self.name, str):
                raise TypeError(f"name must be a string, not {self.name!r}")
            if not _IDENTIFIER.fullmatch(self.name) or self.name in VERILOG_KEYWORDS:
                raise ConfigError(
                    "name", f"must be a Verilog identifier and no keyword, not {self.name!r}"
                )

    def _check_choice(self, parameter: str, choices: Any, where: str = "") -> None:
        value = getattr(self, parameter)
        if not isinstance(value, str):
            raise TypeError(f"{parameter} must be a string, not {value!r}")
        if value not in choices:
            raise ConfigError(
                parameter, f"must be one of {', '.join(choices)}{where}, not {value!r}"
            )

    def _check_range(self, parameter: str, low: int, high: int, where: str = "") -> None:
        value = getattr(self, parameter)
        if not low <= value <= high:
            raise ConfigError(parameter, f"must be between {low} and {high}{where}, not {value}")

    @property
    def format(self) -> NumberFormat:
        """Number format of the activations."""
        return FORMATS[self.dtype]

    @property
    def weight_format(self) -> NumberFormat:
        """Number format of the weights."""
        return FORMATS[self.weight_dtype or self.dtype]

    @property
    def index_width(self) -> int:
        """Bits that number a lane: ceil(log2 m)."""
        return (self.m - 1).bit_length()

    @property
    def metadata_width(self) -> int:
        """Bits of one group's metadata."""
        return {"bitmap": self.m, "index": self.n * self.index_width}[self.metadata]

    @property
    def resolved_selector(self) -> str:
        """The architecture that ``auto`` stands for; otherwise the one named."""
        return SELECTORS[0] if self.selector == "auto" else self.selector

    @property
    def latency_cycles(self) -> int:
        """Cycles from the transfer at the input to the first cycle of the result at the output.

        In a PE the input is the one with `i_last`.
        """
        return self.pipeline

    @property
    def initiation_interval(self) -> int:
        """Cycles from one group to the next when nothing stalls."""
        return 1

    @property
    def parameters(self) -> dict[str, int | str | bool]:
        """The parameters that shape this unit, defaults resolved, in canonical order."""
        resolved: dict[str, int | str | bool] = {"unit": self.unit, "n": self.n, "m": self.m}
        for parameter in _PARAMETERS[self.unit]:
            resolved[parameter] = getattr(self, parameter)
        if "selector" in resolved:
            resolved["selector"] = self.resolved_selector
        if "weight_dtype" in resolved:
            resolved["weight_dtype"] = self.weight_format.name
        return resolved

    @property
    def top(self) -> str:
        """Name of the top module and of the files, without ending."""
        if self.name is not None:
            return self.name
        parts: list[int | str] = ["nm", self.unit, self.n, self.m]
        if "dtype" in _PARAMETERS[self.unit]:
            parts.append(self.dtype)
            if self.unit == "pe" and self.weight_format is not self.format:
                parts.append(self.weight_format.name)
        else:
            parts.append(self.metadata)
        return "_".join(map(str, parts))

    @property
    def command(self) -> str:
        """The command line that makes exactly this unit, in canonical form."""
        words = ["python -m hw.generate"]
        for parameter, value in self.parameters.items():
            text = ("on" if value else "off") if isinstance(value, bool) else value
            words.append(f"--{parameter.replace('_', '-')} {text}")
        if self.name is not None:
            words.append(f"--name {self.name}")
        return " ".join(words)
