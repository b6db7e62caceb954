"""The configuration object: from it come both the gateware (`hw`) and the golden model (`sw`)."""

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from math import comb
from typing import Any

from hw.axi import beat_count, container_width
from hw.choice import choose, serial_cycles
from hw.correction_plan import PLAN
from hw.formats import FORMATS, FP32, NumberFormat, formats_of
from hw.parameters import (
    BEATS,
    CRITERIA,
    FEATURES_WIDTH,
    GOALS,
    LAYOUTS,
    MAX_ACC_WIDTH,
    MAX_ALIGN_BITS,
    MAX_COLS,
    MAX_DEPTH,
    MAX_M,
    MAX_OUTSTANDING,
    MAX_PIPELINE,
    MAX_ROWS,
    METADATA,
    MULTIPLYING_UNITS,
    OPTIONAL,
    OVERFLOWS,
    PACKING_UNITS,
    PARAMETERS,
    PE_METADATA,
    REDUCING_UNITS,
    RUN_TIME_SELECTOR,
    SCORING_UNITS,
    SELECTING_UNITS,
    SELECTION_PARAMETERS,
    SELECTORS,
    SERIAL_SELECTOR,
    SHIFTED,
    SHIFTS,
    STATISTICS_WIDTHS,
    SUM_PLACE,
    TILE_UNITS,
    TOKEN_COUNT_WIDTH,
    UNITS,
    VARIANCE_FLOOR,
    WEIGHT_SELECTS,
    WORDS,
    ConfigError,
    either,
)
from hw.score_formats import SCALE_FORMATS, ScaleFormat, ScoreFormat, scale_format_of
from hw.verilog_keywords import VERILOG_KEYWORDS

#: What can be chosen is as much part of the configuration as what was chosen.
__all__ = [
    "CRITERIA",
    "FEATURES_WIDTH",
    "GOALS",
    "LAYOUTS",
    "METADATA",
    "MULTIPLYING_UNITS",
    "OVERFLOWS",
    "PACKING_UNITS",
    "REDUCING_UNITS",
    "SELECTORS",
    "SHIFTED",
    "SHIFTS",
    "STATISTICS_WIDTHS",
    "SUM_PLACE",
    "TOKEN_COUNT_WIDTH",
    "UNITS",
    "VARIANCE_FLOOR",
    "WEIGHT_SELECTS",
    "WORDS",
    "ConfigError",
    "UnitConfig",
    "compression_ratio",
    "metadata_bits",
    "pattern_list",
]

#: Default of `align_bits`.  A PE is then no less exact than a chain of fused fp32 operations.
_ALIGN_BITS = {"statistics": 16, **dict.fromkeys(MULTIPLYING_UNITS, 28)}

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def metadata_bits(code: str, n: int, m: int) -> int:
    """Bits of the metadata of one group of n:m.

    ``bitmap`` M, ``bitmap-implied`` M - 1, ``index`` N ceil(log2 M), ``enumerative``
    ceil(log2 C(M, N)), ``decoded`` N (M - N + 1) + 1.
    """
    return {
        "bitmap": m,
        "bitmap-implied": m - 1,
        "index": n * (m - 1).bit_length(),
        "enumerative": (comb(m, n) - 1).bit_length(),
        "decoded": n * (m - n + 1) + 1,
    }[code]


def compression_ratio(n: int, m: int, width: int, bits: float) -> float:
    """Dense bits over stored bits of one group: ``m width / (n width + bits)``.

    8:16 of 8 bits with 14 bits of metadata: 128 / (64 + 14) = 1.641.

    Parameters
    ----------
    n, m
        Pattern.
    width
        Bits of one number.
    bits
        Bits of metadata of a group.
    """
    return m * width / (n * width + bits)


def pattern_list(patterns: Iterable[tuple[int, int]]) -> str:
    """Patterns as the command line has them, such as ``2:4,4:8``."""
    return ",".join(f"{n}:{m}" for n, m in patterns)


def _integer(parameter: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"{parameter} must be an integer, not {value!r}") from error


@dataclass(frozen=True, kw_only=True)
class UnitConfig:
    """Everything that decides what a unit computes and how it is built.

    Parameters
    ----------
    n, m
        Pattern: N of every M lanes are kept; 1 <= n <= m, 2 <= m <= 64.  Not given with
        `flexible`, which decides them: m is then the number of lanes, n the largest number kept.
        Of correction and epilogue only a part of the name.
    unit
        One of `UNITS`.
    dtype
        Number format of the activations, one of `hw.formats.FORMATS`.
    selector, goal
        Architecture of the selector, or ``auto``: the best one measured for the goal.
    criterion
        What a lane's score is, one of `CRITERIA`: ``act``, its magnitude; ``scaled``, the exact
        product of its magnitude and its scale, `i_scale`.  Sparsifier, selector and tile only, as
        are the next three.
    scale_format
        Format of the scales: ``u1`` to ``u32``, ``pow2``, ``bf16`` (`hw.score_formats`); None:
        ``u8`` where there are scales, as in a scale memory.
    shift
        Whether `i_shift` is subtracted from the activations before they are scored and packed, and
        what it is, one of `SHIFTS`: a number for all lanes, ``static`` or of each ``token``, or one
        for each ``lane``.
    score_bits
        Leading bits of the score that are compared, ties to the lower lane; None: all of them.
    flexible
        Patterns (n, m) of which `i_pattern` chooses one, transfer by transfer: L / m groups of n:m
        side by side in the L lanes of the largest m, which all m must divide.  Sparsifier,
        selector and tile only; in a tile all patterns keep as many of the L lanes.
    n_runtime
        Whether `i_n` says, transfer by transfer, how many of the m lanes are kept; n is then only
        part of the unit's name.  Sparsifier and selector only.
    input_register
        Whether a register stage takes the group before the selection.  Sparsifier and selector
        only.
    metadata
        Code of the metadata, one of `METADATA`; in a PE also ``decoded``, the bits that choose its
        weights (`hw.metadata.decoded`).
    residual
        Whether a sparsifier also gives the dropped values, packed: `o_residual`.
    serial
        Whether an encoder or decoder of ranks takes a lane a cycle, with one adder.
    pipeline
        Register stages between input and output: the latency in cycles.  0 is combinational, 1
        registers the outputs.  A PE has at least 1, its accumulator.  ``auto``, in sparsifier and
        selector: what was measured to be best for the goal; the attribute then holds that number.
        In a tile: the stages of each sparsifier, and those of each PE.
    rows, cols
        Rows of activations and columns of weights of a tile.
    word
        Bits of one word of a packed stream, one of `WORDS`; of one beat of the streams of an
        `axi_tile`, one of `BEATS`.
    layout
        One of `LAYOUTS`: how a packed stream holds values and metadata.
    depth
        Words of the longest table that a scale memory holds.
    weight_dtype
        Number format of a PE's weights; None: the activations' format.  Both of a PE are integers,
        or both floating-point numbers.
    weights
        Pattern (n, m) of a PE's weights, which are then packed and have metadata of their own, in
        the same code; m as that of the activations.  None: all of them are there.
    weight_select
        How a PE comes by the weights of the kept lanes, one of `WEIGHT_SELECTS`: ``mux``, it
        chooses among those of all lanes; ``gather``, it gives out the lanes and takes their weights
        alone; ``dense-skip``, a multiplier for every lane, those of dropped lanes without work.
    outstanding
        Groups that a PE with ``gather`` keeps while it waits for their weights; None: 4 there.
    acc_width
        Bits of the accumulator of a PE of integers and of its result, and of the integers that an
        epilogue takes.
    overflow
        ``wrap``: the accumulator counts modulo 2**acc_width; ``saturate``: it is limited to its
        range after each group.
    align_bits
        Bits that hold the largest term of a floating-point sum: what is below them falls off
        (`sw.aligned_sum`).  None: in statistics 16, in a PE 28, or those of a square or a product
        if they are more.
    check
        Whether a PE looks for illegal metadata; without, it trusts it and `o_error` is 0.  In a
        tile: whether it looks for patterns that do not exist.
    name
        Name of the emitted top module and files; None: `nm_<unit>_<n>_<m>_...`.

    Raises
    ------
    ConfigError
        A value breaks a rule; the text is subject, rule, value.
    TypeError
        A value is of the wrong kind.
    """

    n: int = 0
    m: int = 0
    unit: str = "sparsifier"
    dtype: str = "bf16"
    selector: str = "auto"
    goal: str = "density"
    criterion: str = "act"
    scale_format: str | None = None
    shift: str = "none"
    score_bits: int | None = None
    flexible: tuple[tuple[int, int], ...] | None = None
    n_runtime: bool = False
    input_register: bool = False
    metadata: str = "bitmap"
    residual: bool = False
    serial: bool = False
    pipeline: int | str = 1
    word: int = 64
    layout: str = "interleaved"
    depth: int = 256
    weight_dtype: str | None = None
    weights: tuple[int, int] | None = None
    weight_select: str = "mux"
    outstanding: int | None = None
    acc_width: int = 32
    overflow: str = "wrap"
    align_bits: int | None = None
    check: bool = True
    rows: int = 4
    cols: int = 4
    name: str | None = None

    def __post_init__(self) -> None:
        if self.flexible is not None:
            self._set_flexible()
        integers = ["n", "m", "acc_width", "word", "depth", "rows", "cols"]
        if self.pipeline != "auto":
            integers.append("pipeline")
        maybe = ("score_bits", "align_bits", "outstanding")
        integers += [p for p in maybe if getattr(self, p) is not None]
        for parameter in integers:
            object.__setattr__(self, parameter, _integer(parameter, getattr(self, parameter)))
        for parameter in ("check", "n_runtime", "input_register", "residual", "serial"):
            if not isinstance(getattr(self, parameter), bool):
                raise TypeError(
                    f"{parameter} must be True or False, not {getattr(self, parameter)!r}"
                )

        self._check_choice("unit", UNITS)
        self._check_range("m", 2, MAX_M)
        if not 1 <= self.n <= self.m:
            raise ConfigError("n", f"must be between 1 and m = {self.m}, not {self.n}")
        self._check_choice("dtype", FORMATS)
        self._check_choice("selector", ("auto", *SELECTORS))
        self._check_choice("goal", GOALS)
        self._check_choice("metadata", PE_METADATA if self.unit == "pe" else METADATA)
        self._check_choice("overflow", OVERFLOWS)
        self._check_choice("layout", LAYOUTS)
        allowed = BEATS if self.unit == "axi_tile" else WORDS
        if self.word not in allowed:
            words = ", ".join(map(str, allowed))
            raise ConfigError("word", f"must be one of {words}, not {self.word}")
        if self.weight_dtype is not None:
            self._check_choice("weight_dtype", FORMATS)
        self._check_range("depth", 1, MAX_DEPTH)
        self._check_scores()
        self._check_run_time()
        self._check_serial()
        self._check_align_bits()
        self._check_weight_select()
        if self.unit in MULTIPLYING_UNITS:
            where = f" with the dtype {self.dtype}"
            if self.weight_dtype is not None:
                self._check_choice("weight_dtype", formats_of(self.format.kind), where)
        if self.unit in TILE_UNITS:
            self._check_tile()
        if self.unit in (*MULTIPLYING_UNITS, "epilogue") and self.format.kind == "int":
            self._check_range("acc_width", 2, MAX_ACC_WIDTH)
        self._check_pipeline()
        if self.name is not None:
            if not isinstance(self.name, str):
                raise TypeError(f"name must be a string, not {self.name!r}")
            if not _IDENTIFIER.fullmatch(self.name) or self.name in VERILOG_KEYWORDS:
                raise ConfigError(
                    "name", f"must be a Verilog identifier and no keyword, not {self.name!r}"
                )

    def _set_flexible(self) -> None:
        """Check the patterns and derive n and m from them."""
        try:
            patterns = tuple((_integer("n", n), _integer("m", m)) for n, m in self.flexible or ())
        except (TypeError, ValueError) as error:
            raise TypeError(f"flexible must be pairs of integers, not {self.flexible!r}") from error
        text = pattern_list(patterns)
        if not patterns or len(set(patterns)) < len(patterns):
            raise ConfigError("flexible", f"must be different patterns n:m, not {text!r}")
        lanes = max(m for _, m in patterns)
        for n, m in patterns:
            if not (2 <= m <= MAX_M and 1 <= n <= m):
                rule = f"must be patterns n:m with 2 <= m <= {MAX_M} and 1 <= n <= m"
                raise ConfigError("flexible", f"{rule}, not {n}:{m}")
            if lanes % m:
                rule = f"must be patterns whose m divides the largest, {lanes}"
                raise ConfigError("flexible", f"{rule}, not {n}:{m}")
        slots = max(lanes // m * n for n, m in patterns)
        for parameter, value in (("n", slots), ("m", lanes)):
            if getattr(self, parameter) not in (0, value):
                rule = f"must not be given with flexible, or be {value}"
                raise ConfigError(parameter, f"{rule}, not {getattr(self, parameter)}")
            object.__setattr__(self, parameter, value)
        object.__setattr__(self, "flexible", patterns)

    def _check_run_time(self) -> None:
        """What is chosen at run time goes with one selector, in some units."""
        for parameter, units in (
            ("flexible", SCORING_UNITS),
            ("n_runtime", SELECTING_UNITS),
            ("input_register", SELECTING_UNITS),
        ):
            if getattr(self, parameter) and self.unit not in units:
                rule = f"must go with unit {either(units)}, not {self.unit!r}"
                raise ConfigError(parameter, rule)
        for parameter in ("flexible", "n_runtime"):
            if not getattr(self, parameter):
                continue
            if self.selector not in ("auto", RUN_TIME_SELECTOR):
                raise ConfigError(
                    parameter,
                    f"must go with selector {RUN_TIME_SELECTOR}, not {self.selector!r}",
                )
        if self.flexible and self.n_runtime:
            raise ConfigError("n_runtime", "must not be given with flexible")

    def _check_scores(self) -> None:
        self._check_choice("criterion", CRITERIA)
        self._check_choice("shift", SHIFTS)
        if self.unit not in SCORING_UNITS:
            units = either(SCORING_UNITS)
            for parameter, value in (("criterion", CRITERIA[0]), ("shift", SHIFTS[0])):
                if getattr(self, parameter) != value:
                    rule = f"must be {value} in a unit other than {units}, not"
                    raise ConfigError(parameter, f"{rule} {getattr(self, parameter)!r}")
        if self.residual and self.unit != "sparsifier":
            raise ConfigError("residual", f"must go with unit sparsifier, not {self.unit!r}")
        has_scales = self.criterion == "scaled" or self.unit == "scale_memory"
        if not has_scales and self.scale_format is not None:
            raise ConfigError(
                "scale_format",
                f"must go with criterion scaled or unit scale_memory, not {self.criterion!r}",
            )
        if has_scales:
            name = "u8" if self.scale_format is None else self.scale_format
            if not isinstance(name, str):
                raise TypeError(f"scale_format must be a string, not {name!r}")
            if scale_format_of(name) is None:
                formats = ", ".join(SCALE_FORMATS)
                raise ConfigError("scale_format", f"must be one of {formats}, not {name!r}")
            object.__setattr__(self, "scale_format", name)
        if self.score_bits is not None:
            where = f", the bits of a score of {self.dtype}"
            if self.scale is not None:
                where += f" with a scale of {self.scale.name}"
            self._check_range("score_bits", 1, self.score.width, where)

    def _check_align_bits(self) -> None:
        if "align_bits" not in PARAMETERS[self.unit] or self.format.kind == "int":
            return
        if self.align_bits is not None:
            where = f" in statistics of {self.dtype}"
            if self.unit in MULTIPLYING_UNITS:
                where = f" in a {self.unit} of {self.dtype} and {self.weight_format.name}"
            self._check_range("align_bits", self._term_width, MAX_ALIGN_BITS, where)

    def _check_weight_select(self) -> None:
        self._check_choice("weight_select", WEIGHT_SELECTS)
        if self.weight_select != WEIGHT_SELECTS[0] and self.unit != "pe":
            raise ConfigError("weight_select", f"must go with unit pe, not {self.unit!r}")
        self._check_weights()
        if self.weight_select == "gather":
            if self.outstanding is None:
                object.__setattr__(self, "outstanding", 4)
            self._check_range("outstanding", 2, MAX_OUTSTANDING)
        elif self.outstanding is not None:
            raise ConfigError(
                "outstanding", f"must go with weight_select gather, not {self.weight_select!r}"
            )

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        try:
            n, m = (_integer("weights", number) for number in self.weights)
        except (TypeError, ValueError) as error:
            raise TypeError(f"weights must be a pair of integers, not {self.weights!r}") from error
        if self.unit != "pe":
            raise ConfigError("weights", f"must go with unit pe, not {self.unit!r}")
        if m != self.m or not 1 <= n <= m:
            rule = f"must be a pattern n:m with m = {self.m} and 1 <= n <= m"
            raise ConfigError("weights", f"{rule}, not {n}:{m}")
        if self.weight_select != WEIGHT_SELECTS[0]:
            raise ConfigError(
                "weights", f"must go with weight_select mux, not {self.weight_select!r}"
            )
        object.__setattr__(self, "weights", (n, m))

    def _check_tile(self) -> None:
        self._check_range("rows", 1, MAX_ROWS)
        self._check_range("cols", 1, MAX_COLS)
        if self.selector == SERIAL_SELECTOR:
            rule = "must take a group a cycle in a tile, not be"
            raise ConfigError("selector", f"{rule} {self.selector!r}")
        if self.flexible is not None:
            if len({Fraction(n, m) for n, m in self.flexible}) > 1:
                raise ConfigError(
                    "flexible",
                    f"must be patterns that keep as many of the {self.m} lanes each in a tile, "
                    f"not {pattern_list(self.flexible)!r}",
                )
            if self.metadata != "bitmap":
                rule = "must be bitmap in a tile with patterns at run time"
                raise ConfigError("metadata", f"{rule}, not {self.metadata!r}")
        if self.unit == "axi_tile" and self.shift not in ("none", "static"):
            raise ConfigError("shift", f"must be none or static in an axi_tile, not {self.shift!r}")
        if not self.is_dense:
            return
        defaults = {field.name: field.default for field in fields(self)}
        for parameter in ("flexible", *SELECTION_PARAMETERS):
            if getattr(self, parameter) != defaults[parameter]:
                raise ConfigError(
                    parameter, f"must not be given for a tile that keeps all {self.m} lanes"
                )

    def _check_serial(self) -> None:
        if not self.serial:
            return
        if self.unit not in ("encoder", "decoder"):
            raise ConfigError("serial", f"must go with unit encoder or decoder, not {self.unit!r}")
        if self.metadata != "enumerative":
            raise ConfigError("serial", f"must go with metadata enumerative, not {self.metadata!r}")

    def _check_pipeline(self) -> None:
        if self.pipeline == "auto":
            if self.unit not in SELECTING_UNITS:
                raise ConfigError(
                    "pipeline",
                    f"must be a number unless in {either(SELECTING_UNITS)}, "
                    f"not 'auto' in {self.unit!r}",
                )
            object.__setattr__(self, "pipeline", self._chosen[1])
        if self.unit in PACKING_UNITS:
            self._check_range("pipeline", 1, 1, f" in a {self.unit}, whose buffer is the stage")
            self._check_packed()
        elif self.unit == "scale_memory":
            self._check_range("pipeline", 1, 1, " in a scale_memory, whose memory is the stage")
        elif self.unit == "pe":
            self._check_range("pipeline", 1, MAX_PIPELINE, " in a pe, whose accumulator is a stage")
        elif self.unit in TILE_UNITS:
            self._check_range("pipeline", 1, MAX_PIPELINE, " in a tile, whose sums are a stage")
        elif self.unit == "statistics":
            self._check_range("pipeline", 1, MAX_PIPELINE, " in statistics, whose sums are a stage")
        else:
            self._check_range("pipeline", 0, MAX_PIPELINE)

    def _check_packed(self) -> None:
        """A byte count tells how many groups there are, and no stream is without bits."""
        bits = self.group_bits - (self.metadata_bits if self.layout == "split" else 0)
        if bits < 8:
            raise ConfigError(
                "n",
                f"must make groups of at least 8 bits in a stream of words, so that bytes tell how "
                f"many they are, not {bits}",
            )
        if self.layout == "split" and not self.metadata_bits:
            raise ConfigError("layout", "must be interleaved where metadata has no bits, not split")

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
            allowed = str(low) if low == high else f"between {low} and {high}"
            raise ConfigError(parameter, f"must be {allowed}{where}, not {value}")

    @property
    def format(self) -> NumberFormat:
        """Number format of the activations."""
        return FORMATS[self.dtype]

    @property
    def weight_format(self) -> NumberFormat:
        """Number format of the weights."""
        return FORMATS[self.weight_dtype or self.dtype]

    @property
    def multiplier_count(self) -> int:
        """Multipliers of a PE."""
        if self.weight_select == "dense-skip":
            return self.m
        return self.n if self.weights is None else min(self.n, self.weights[0])

    @property
    def of_weights(self) -> "UnitConfig":
        """A PE whose activations are packed as the weights of this one are.

        Raises
        ------
        ValueError
            The weights are not packed.
        """
        if self.weights is None:
            raise ValueError("weights must be packed to have a pattern")
        dtype = self.weight_format.name
        return replace(self, n=self.weights[0], dtype=dtype, weight_dtype=None, weights=None)

    @property
    def index_width(self) -> int:
        """Bits that number a lane: ceil(log2 m)."""
        return (self.m - 1).bit_length()

    @property
    def metadata_bits(self) -> int:
        """Bits of metadata in one transfer: of a group, or of all groups side by side.

        0 where there is but one mask to name.
        """
        if self.n_runtime:
            return max(metadata_bits(self.metadata, n, self.m) for n in self.kept_counts)
        return max(self.m // m * metadata_bits(self.metadata, n, m) for n, m in self.patterns)

    @property
    def metadata_width(self) -> int:
        """Bits of the ports that hold the metadata: no port has less than one."""
        return max(1, self.metadata_bits)

    @property
    def group_bits(self) -> int:
        """Bits of one group, values and metadata, in a packed stream."""
        return self.n * self.format.width + self.metadata_bits

    @property
    def scale(self) -> ScaleFormat | None:
        """Format of the scales; None where there are none."""
        return None if self.scale_format is None else scale_format_of(self.scale_format)

    @property
    def score(self) -> ScoreFormat:
        """Format of the scores."""
        return ScoreFormat(self.format, self.scale)

    @property
    def key_width(self) -> int:
        """Bits of a score that are compared."""
        return self.score.width if self.score_bits is None else self.score_bits

    @property
    def resolved_align_bits(self) -> int:
        """`align_bits`, None resolved."""
        if self.align_bits is not None:
            return self.align_bits
        return max(_ALIGN_BITS[self.unit], self._term_width)

    @property
    def _term_width(self) -> int:
        """Bits of the significand of a product, or of a square."""
        other = self.weight_format if self.unit in MULTIPLYING_UNITS else self.format
        return self.format.significand_width + other.significand_width

    @property
    def residual_slots(self) -> int:
        """Dropped values that one transfer has room for."""
        return self.m - self.kept_counts[0]

    @property
    def patterns(self) -> tuple[tuple[int, int], ...]:
        """The patterns that the unit knows, by the number that `i_pattern` has for each."""
        return self.flexible or ((self.n, self.m),)

    @property
    def kept_counts(self) -> range:
        """Numbers of lanes kept in one transfer, from the least to the most."""
        if self.n_runtime:
            return range(self.m + 1)
        counts = [self.m // m * n for n, m in self.patterns]
        if self.has_illegal_patterns:
            counts.append(0)
        return range(min(counts), max(counts) + 1)

    @property
    def slots(self) -> int:
        """Kept values that one transfer has room for."""
        return self.kept_counts[-1]

    @property
    def has_illegal_patterns(self) -> bool:
        """Whether `i_pattern` has numbers that no pattern has."""
        return self.flexible is not None and len(self.patterns) < 1 << self.pattern_width

    @property
    def is_dense(self) -> bool:
        """Whether all lanes are kept."""
        return self.n == self.m

    @property
    def sum_width(self) -> int:
        """Bits of a sum in the results of an `axi_tile`: 8, 16, 32 or 64, its sign repeated."""
        return container_width(self.acc_width if self.format.kind == "int" else FP32.width)

    def stream_bits(self, stream: str) -> int:
        """Bits of one transfer of a tile's ``data``, ``weights`` or ``sum``, in an `axi_tile`."""
        return {
            "data": self.rows * self.m * self.format.width,
            "weights": self.cols * self.m * self.weight_format.width,
            "sum": self.rows * self.cols * self.sum_width,
        }[stream]

    def beats(self, stream: str) -> int:
        """Beats of one such transfer."""
        return beat_count(self.stream_bits(stream), self.word)

    @property
    def pattern_width(self) -> int:
        """Bits of `i_pattern`."""
        return max(1, (len(self.patterns) - 1).bit_length())

    @property
    def _chosen(self) -> tuple[str, int]:
        """Architecture and register stages of the selector, ``auto`` resolved."""
        allowed: tuple[str, ...] = SELECTORS
        if self.flexible or self.n_runtime:
            allowed = (RUN_TIME_SELECTOR,)
        elif self.unit in TILE_UNITS:
            allowed = tuple(name for name in SELECTORS if name != SERIAL_SELECTOR)
        return choose(
            n=self.n,
            m=self.m,
            key_width=self.key_width,
            goal=self.goal,
            selectors=allowed if self.selector == "auto" else (self.selector,),
            pipeline=None if self.pipeline == "auto" else int(self.pipeline),
        )

    @property
    def resolved_selector(self) -> str:
        """The architecture that ``auto`` stands for; otherwise the one named."""
        return self._chosen[0] if self.selector == "auto" else self.selector

    @property
    def is_serial(self) -> bool:
        """Whether there is a selector that takes several cycles for a group."""
        if "selector" not in PARAMETERS[self.unit]:
            return False
        return self.resolved_selector == SERIAL_SELECTOR

    @property
    def stages(self) -> int:
        """K as a number."""
        return int(self.pipeline)

    @property
    def latency_cycles(self) -> int:
        """Cycles from the transfer at the input to the first cycle of the result at the output.

        In a PE or tile the input is the one with `i_last`, in a scale memory the last word of a
        table, in an `axi_tile` the last beat with TLAST.  With ``gather`` the weights are there a
        cycle after they have been asked for, or before.
        """
        if self.unit in TILE_UNITS:
            # Selection, or its place; what goes to all columns; multiplication.
            cycles = (1 if self.is_dense else self.stages) + 1 + self.stages
            # The register from which results leave in beats.
            return cycles + (self.unit == "axi_tile")
        if self.unit == "scale_memory":
            # Into the memory, and out of it.
            return 2
        if self.weight_select == "gather":
            # The group waits in a buffer.
            return self.stages + 1
        # The first register lets a serial selector begin after the transfer, not before it.
        return self.stages + (self.initiation_interval if self.input_register else 0)

    @property
    def initiation_interval(self) -> int:
        """Cycles from one input to the next when nothing stalls: an unpacker takes words.

        In an `axi_tile` from step to step, if the reductions are not so short that the results take
        longer.
        """
        if self.unit in PACKING_UNITS:
            # A word a cycle, or a group, whichever is the larger; at most, not on the average.
            bits = self.n * self.format.width if self.layout == "split" else self.group_bits
            ratio = (bits, self.word) if self.unit == "packer" else (self.word, bits)
            return max(1, -(-ratio[0] // ratio[1]))
        if self.unit == "axi_tile":
            return max(map(self.beats, ("data", "weights")))
        if self.serial:
            return self.m + 1
        if self.unit == "correction":
            return PLAN.cycles + 1
        return serial_cycles(m=self.m, key_width=self.key_width) + 1 if self.is_serial else 1

    @property
    def parameters(self) -> dict[str, int | str | bool]:
        """The parameters that shape this unit, defaults resolved, in canonical order."""
        defaults = {field.name: field.default for field in fields(self)}
        resolved: dict[str, int | str | bool] = {"unit": self.unit}
        if self.flexible:
            resolved["flexible"] = pattern_list(self.flexible)
        else:
            resolved |= {"n": self.n, "m": self.m}
        for parameter in PARAMETERS[self.unit]:
            if parameter == "align_bits" and self.format.kind == "int":
                # Sums of integers are exact.
                continue
            if self.unit in TILE_UNITS and self.is_dense and parameter in SELECTION_PARAMETERS:
                continue
            if parameter == "depth" and self.scale is None:
                continue
            if parameter in ("acc_width", "overflow") and self.format.kind == "float":
                # Sums of numbers are fp32.
                continue
            # What changes the function only where it is asked for.
            if parameter in OPTIONAL and getattr(self, parameter) == defaults[parameter]:
                continue
            value = getattr(self, parameter)
            resolved[parameter] = pattern_list([value]) if parameter == "weights" else value
        if "align_bits" in resolved:
            resolved["align_bits"] = self.resolved_align_bits
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
        pattern = [f"flex{self.m}"] if self.flexible else [self.n, self.m]
        parts: list[int | str] = ["nm", self.unit, *pattern]
        if self.unit == "scale_memory":
            parts.append(str(self.scale_format))
        elif "dtype" in PARAMETERS[self.unit]:
            parts.append(self.dtype)
            if self.unit in MULTIPLYING_UNITS and self.weight_format is not self.format:
                parts.append(self.weight_format.name)
        else:
            parts.append(self.metadata.replace("-", "_"))
        return "_".join(map(str, parts))

    @property
    def command(self) -> str:
        """The command line that makes exactly this unit, in canonical form."""
        words = ["python -m hw.generate"]
        for parameter, value in self.parameters.items():
            option = f"--{parameter.replace('_', '-')}"
            if parameter in OPTIONAL and isinstance(value, bool):
                words.append(option)
                continue
            text = ("on" if value else "off") if isinstance(value, bool) else value
            words.append(f"{option} {text}")
        if self.name is not None:
            words.append(f"--name {self.name}")
        return " ".join(words)
