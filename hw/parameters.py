"""What the units are, what can be chosen for each of them, and the error of a wrong choice."""

from collections.abc import Sequence

__all__ = [
    "BEATS",
    "CRITERIA",
    "FEATURES_WIDTH",
    "GOALS",
    "LAYOUTS",
    "MAX_ACC_WIDTH",
    "MAX_ALIGN_BITS",
    "MAX_COLS",
    "MAX_DEPTH",
    "MAX_M",
    "MAX_OUTSTANDING",
    "MAX_PIPELINE",
    "MAX_ROWS",
    "METADATA",
    "MULTIPLYING_UNITS",
    "OPTIONAL",
    "OVERFLOWS",
    "PACKING_UNITS",
    "PARAMETERS",
    "PE_METADATA",
    "REDUCING_UNITS",
    "RUN_TIME_SELECTOR",
    "SCORING_UNITS",
    "SELECTING_UNITS",
    "SELECTION_PARAMETERS",
    "SELECTORS",
    "SERIAL_SELECTOR",
    "SHIFTED",
    "SHIFTS",
    "STATISTICS_WIDTHS",
    "SUM_PLACE",
    "TILE_UNITS",
    "TOKEN_COUNT_WIDTH",
    "UNITS",
    "VARIANCE_FLOOR",
    "WEIGHT_SELECTS",
    "WORDS",
    "ConfigError",
    "either",
]

#: What each unit does, in one line.
UNITS: dict[str, str] = {
    "sparsifier": "keep N of M activations, pack them, describe them in metadata",
    "selector": "mask of the N largest of M activations",
    "encoder": "mask to metadata",
    "decoder": "metadata to mask, illegal codes reported",
    "decompressor": "packed activations and metadata back to dense groups",
    "packer": "packed activations and metadata to words without gaps",
    "unpacker": "words without gaps back to packed activations and metadata",
    "pe": "sparse dot product of packed activations with dense weights",
    "statistics": "sum, sum of squares and maximum of a token, all of it and what is kept",
    "scale_memory": "scales of a layer, again for every token",
    "correction": "ratio of standard deviations and mean of a token, from its statistics",
    "epilogue": "ratio, gain, shift and bias on the sum of a PE, in fp32",
    "tile": "rows of sparsifiers and PEs by columns of weights",
    "axi_tile": "tile behind AXI4-Stream, with registers behind AXI4-Lite",
}

#: Architectures of the top-N-of-M selector, all with the same function.
SELECTORS: tuple[str, ...] = (
    "compare_matrix",
    "rank_merge",
    "selection_network",
    "threshold_search",
    "threshold_serial",
)

#: The one that can be told the pattern, or N, at run time.
RUN_TIME_SELECTOR = "compare_matrix"

#: The one that takes several cycles for a group.
SERIAL_SELECTOR = "threshold_serial"

#: Units that have a selector.
SELECTING_UNITS = ("sparsifier", "selector")

#: Tiles by themselves, and behind ports of AXI.
TILE_UNITS = ("tile", "axi_tile")

#: Units that have scores, and can have patterns at run time.
SCORING_UNITS = (*SELECTING_UNITS, *TILE_UNITS)

#: Units that multiply and accumulate.
MULTIPLYING_UNITS = ("pe", *TILE_UNITS)

#: What a lane's score is: its magnitude, or the product of its magnitude and its scale.
CRITERIA: tuple[str, ...] = ("act", "scaled")

#: What is subtracted from the activations before anything else: nothing; one number that software
#: knows beforehand, or one of each lane; one of each token.
SHIFTS: tuple[str, ...] = ("none", "static", "lane", "token")

#: Those that subtract something.
SHIFTED = SHIFTS[1:]

#: Units with a packed stream.  Their buffer is their only register stage.
PACKING_UNITS = ("packer", "unpacker")

#: Units that give one result for all groups up to one with `i_last`.
REDUCING_UNITS = ("pe", "statistics", "tile")

#: What `selector="auto"` aims at.
GOALS: tuple[str, ...] = ("area", "delay", "density")

#: Codes of the metadata.
METADATA: tuple[str, ...] = ("bitmap", "index", "bitmap-implied", "enumerative")

#: Those that a PE takes: what a decoder beside it made of one of them, too.
PE_METADATA = (*METADATA, "decoded")

#: How a packed stream holds values and metadata: group by group, or in two streams.
LAYOUTS: tuple[str, ...] = ("interleaved", "split")

#: Bits of one word of a packed stream.
WORDS: tuple[int, ...] = (32, 64, 128, 256, 512)

#: Bits of one beat of the streams of an `axi_tile`, at most.
BEATS: tuple[int, ...] = (*WORDS, 1024, 2048, 4096, 8192, 16384, 32768, 65536)

#: What an accumulator does beyond its range.
OVERFLOWS: tuple[str, ...] = ("wrap", "saturate")

#: How a PE comes by the weights of the kept lanes: it chooses among those of all lanes; it asks a
#: memory for them; it takes those of all lanes, and leaves multipliers without work.
WEIGHT_SELECTS: tuple[str, ...] = ("mux", "gather", "dense-skip")

MAX_M = 64
MAX_PIPELINE = 32
MAX_ACC_WIDTH = 64

#: Groups whose weights a PE may be waiting for, at most.
MAX_OUTSTANDING = 64

#: Bits of the exact sums of a token of integers, and of their squares.
STATISTICS_WIDTHS = (32, 48)

#: Bits of the number of activations of a token.
FEATURES_WIDTH = 17

#: What the variance of the kept activations of a token counts at least (arXiv 2509.22166).
VARIANCE_FLOOR = 1e-9

#: Bits to which floating-point sums are aligned, at most.
MAX_ALIGN_BITS = 40

#: log2 of the last place of floating-point sums: three below that of fp32.
SUM_PLACE = -152

#: Words of one table of a scale memory, at most.
MAX_DEPTH = 65536

#: Bits of the number of tokens that such a table serves.
TOKEN_COUNT_WIDTH = 32

#: Rows and columns of a tile, at most.
MAX_ROWS = 64
MAX_COLS = 256

#: Parameters that shape each unit, in the order of the canonical command.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "sparsifier": (
        "dtype", "shift", "criterion", "scale_format", "score_bits", "n_runtime", "selector",
        "input_register", "metadata", "residual", "pipeline",
    ),
    "selector": (
        "dtype", "shift", "criterion", "scale_format", "score_bits", "n_runtime", "selector",
        "input_register", "pipeline",
    ),
    "encoder": ("metadata", "serial", "pipeline"),
    "decoder": ("metadata", "serial", "pipeline"),
    "decompressor": ("dtype", "metadata", "pipeline"),
    "packer": ("dtype", "metadata", "word", "layout"),
    "unpacker": ("dtype", "metadata", "word", "layout"),
    "pe": (
        "dtype", "weight_dtype", "metadata", "weights", "weight_select", "outstanding",
        "acc_width", "overflow", "align_bits", "check", "pipeline",
    ),
    "statistics": ("dtype", "align_bits", "pipeline"),
    "scale_memory": ("scale_format", "depth"),
    "correction": ("dtype", "pipeline"),
    "epilogue": ("dtype", "acc_width", "pipeline"),
    "tile": (
        "rows", "cols", "dtype", "weight_dtype", "shift", "criterion", "scale_format", "score_bits",
        "selector", "metadata", "acc_width", "overflow", "align_bits", "check", "pipeline",
    ),
    "axi_tile": (
        "rows", "cols", "dtype", "weight_dtype", "shift", "criterion", "scale_format", "depth",
        "score_bits", "selector", "metadata", "acc_width", "overflow", "align_bits", "check",
        "pipeline", "word",
    ),
}  # fmt: skip

#: Those of a tile that say what its sparsifiers are, where it has any.
SELECTION_PARAMETERS = ("shift", "criterion", "scale_format", "score_bits", "selector", "metadata")


#: Parameters that are left out of the canonical command where they have their default.
OPTIONAL = (
    "shift", "criterion", "scale_format", "score_bits", "n_runtime", "input_register", "serial",
    "residual", "weights", "weight_select", "outstanding",
)  # fmt: skip


def either(words: Sequence[str]) -> str:
    """Words as a choice: ``a``, ``a or b``, ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


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
