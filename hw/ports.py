"""The ports of every emitted top module."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hw.axi import LITE_SIGNALS, beat_width
from hw.config import (
    FEATURES_WIDTH,
    PACKING_UNITS,
    SHIFTS,
    STATISTICS_WIDTHS,
    TOKEN_COUNT_WIDTH,
    UnitConfig,
)
from hw.formats import FP32

__all__ = [
    "Field",
    "Port",
    "input_payload",
    "input_streams",
    "output_payload",
    "output_streams",
    "ports",
]


@dataclass(frozen=True)
class Field:
    """A run of equal elements inside a port.

    Element j is bits ``[offset + j*width +: width]`` of the port.

    Parameters
    ----------
    name
        What one element is: ``lane``, ``slot``, ``index``, ...
    count
        Number of elements.
    width
        Bits of one element.
    format
        How its bits are read: ``bit``, ``unsigned``, ``signed``, a number format, or a scale
        format.
    offset
        Lowest bit of element 0.
    """

    name: str
    count: int
    width: int
    format: str
    offset: int = 0


@dataclass(frozen=True)
class Port:
    """One port of a top module."""

    name: str
    direction: Literal["input", "output"]
    width: int
    fields: tuple[Field, ...]

    def as_dict(self) -> dict[str, Any]:
        """The port as the manifest holds it."""
        return {
            "name": self.name,
            "direction": self.direction,
            "width": self.width,
            "fields": [vars(field) for field in self.fields],
        }


def _fields(config: UnitConfig) -> dict[str, Field]:
    """The content of every payload port, by its name without direction."""
    width = config.format.width
    group = Field("lane", config.m, width, config.dtype)
    word = Field("byte", config.word // 8, 8, "unsigned")
    byte_count = Field("bytes", 1, (config.word // 8).bit_length(), "unsigned")
    return {
        "data": word if config.unit in PACKING_UNITS else group,
        "mask": Field("lane", config.m, 1, "bit"),
        "scale": _scale(config),
        "shift": replace(group, name="shift", count=1) if config.shift != "lane" else group,
        "pattern": Field("pattern", 1, config.pattern_width, "unsigned"),
        "n": Field("n", 1, config.m.bit_length(), "unsigned"),
        "values": Field("slot", config.slots, width, config.dtype),
        "residual": _residual(config),
        "weights": _weights(config),
        "weight_meta": _metadata(config if config.weights is None else config.of_weights),
        "index": Field("index", config.n, config.index_width, "unsigned"),
        "meta": _metadata(config),
        "last": Field("last", 1, 1, "bit"),
        "tokens": Field("tokens", 1, TOKEN_COUNT_WIDTH, "unsigned"),
        "error": Field("error", 1, 1, "bit"),
        "sum": _sum(config),
        **_statistics(config),
        "features": Field("features", 1, FEATURES_WIDTH, "unsigned"),
        "ratio": Field("ratio", 1, FP32.width, FP32.name),
        "mean": Field("mean", 1, FP32.width, FP32.name),
        **{
            name: Field(name, 1, FP32.width, FP32.name)
            for name in ("gain", "row_sum", "bias", "result")
        },
        **_epilogue(config),
        **_tile(config),
        "meta_data": word,
        "meta_bytes": byte_count,
        "meta_last": Field("last", 1, 1, "bit"),
        "bytes": byte_count,
    }


def _statistics(config: UnitConfig) -> dict[str, Field]:
    """What is found out about a token, and what is made of it."""
    if config.unit not in ("statistics", "correction"):
        return {}
    result = {"max": Field("max", 1, config.format.key_width, "unsigned")}
    kinds = ("signed", "unsigned")
    for name, width, kind in zip(("sum", "squares"), STATISTICS_WIDTHS, kinds, strict=True):
        is_float = config.format.kind == "float"
        result[name] = Field(
            name, 1, FP32.width if is_float else width, FP32.name if is_float else kind
        )
    return result | {f"kept_{name}": field for name, field in result.items()}


def _sum(config: UnitConfig) -> Field:
    """A sum of products: of integers an integer, otherwise fp32."""
    if config.format.kind == "int":
        return Field("sum", 1, config.acc_width, "signed")
    return Field("sum", 1, FP32.width, FP32.name)


def _epilogue(config: UnitConfig) -> dict[str, Field]:
    """What has another content in the unit of that name than elsewhere."""
    if config.unit != "epilogue":
        return {}
    return {"shift": Field("shift", 1, FP32.width, FP32.name)}


def _tile(config: UnitConfig) -> dict[str, Field]:
    """What a tile has once a row, once a column, or once each PE."""
    if config.unit != "tile":
        return {}
    rows, cols = config.rows, config.cols
    weights = config.weight_format
    result = {
        # Lane j of row r is element r * M + j, that of column c element c * M + j.
        "data": Field("lane", rows * config.m, config.format.width, config.dtype),
        "weights": Field("lane", cols * config.m, weights.width, weights.name),
        "pattern": Field("row", rows, config.pattern_width, "unsigned"),
        # That of row r and column c is element r * C + c.
        "sum": replace(_sum(config), count=rows * cols),
        "error": Field("row", rows, 1, "bit"),
    }
    if config.shift == "token":
        result["shift"] = Field("row", rows, config.format.width, config.dtype)
    return result


def _scale(config: UnitConfig) -> Field:
    if config.scale is None:
        return Field("lane", 0, 0, "unsigned")
    return Field("lane", config.m, config.scale.width, config.scale.name)


def _weights(config: UnitConfig) -> Field:
    weights = config.weight_format
    if config.weight_select == "gather":
        return Field("slot", config.n, weights.width, weights.name)
    if config.weights is not None:
        return Field("slot", config.weights[0], weights.width, weights.name)
    return Field("lane", config.m, weights.width, weights.name)


def _residual(config: UnitConfig) -> Field:
    if not config.residual_slots:
        return Field("none", 1, 1, "bit")
    return Field("slot", config.residual_slots, config.format.width, config.dtype)


def _metadata(config: UnitConfig) -> Field:
    if config.metadata == "bitmap":
        return Field("lane", config.m, 1, "bit")
    if config.flexible:
        # Fields of several widths: as many bits as the longest code needs.
        return Field("bit", config.metadata_width, 1, "bit")
    if config.metadata == "bitmap-implied":
        return Field("lane", config.m - 1, 1, "bit")
    if config.metadata == "decoded":
        return Field("bit", config.metadata_width, 1, "bit")
    if config.metadata == "enumerative":
        return Field("rank", 1, config.metadata_width, "unsigned")
    return Field("index", config.slots, config.index_width, "unsigned")


#: Payload of the two streams of each unit: input, output.
_PAYLOADS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "sparsifier": (("data", "last"), ("values", "meta", "last")),
    "selector": (("data",), ("mask",)),
    "encoder": (("mask",), ("meta",)),
    "decoder": (("meta",), ("mask", "error")),
    "decompressor": (("values", "meta", "last"), ("data", "last", "error")),
    "packer": (("values", "meta", "last"), ("data", "bytes", "last")),
    "unpacker": (("data", "bytes", "last"), ("values", "meta", "last")),
    "pe": (("values", "meta", "weights", "last"), ("sum", "error")),
    "statistics": (
        ("data", "mask", "last"),
        ("sum", "squares", "max", "kept_sum", "kept_squares", "kept_max"),
    ),
    "scale_memory": (("scale", "last", "tokens"), ("scale", "last")),
    "correction": (
        ("sum", "squares", "kept_sum", "kept_squares", "features"),
        ("ratio", "mean"),
    ),
    "epilogue": (
        ("sum", "ratio", "gain", "shift", "row_sum", "bias", "last", "error"),
        ("result", "last", "error"),
    ),
    "tile": (("data", "last"), ("sum", "error")),
}


def _payload(config: UnitConfig, names: Sequence[str]) -> dict[str, Field]:
    fields = _fields(config)
    return {name: fields[name] for name in names}


def input_payload(config: UnitConfig) -> dict[str, Field]:
    """Content of the input stream, by port name without ``i_``."""
    names = _PAYLOADS[config.unit][0]
    if config.weight_select == "gather":
        names = tuple(name for name in names if name != "weights")
    if config.weights is not None:
        names += ("weight_meta",)
    if config.criterion == "scaled":
        names += ("scale",)
    if config.shift != SHIFTS[0]:
        names += ("shift",)
    if config.flexible:
        names += ("pattern",)
    if config.n_runtime:
        names += ("n",)
    return _payload(config, names)


def output_payload(config: UnitConfig) -> dict[str, Field]:
    """Content of the output stream, by port name without ``o_``."""
    names = _PAYLOADS[config.unit][1]
    if config.residual:
        names += ("residual",)
    return _payload(config, names)


def input_streams(config: UnitConfig) -> dict[str, dict[str, Field]]:
    """Content of all input streams, by the prefix of their ``valid`` and ``ready``.

    A port is called by the first letter of the prefix, ``_`` and its name here.
    """
    if config.unit == "tile":
        return {"i": input_payload(config), "w": _payload(config, ("weights",))}
    streams = {"i": input_payload(config), **_second_stream(config, "i", "unpacker")}
    if config.weight_select == "gather":
        streams["i_weights"] = _payload(config, ("weights",))
    return streams


def output_streams(config: UnitConfig) -> dict[str, dict[str, Field]]:
    """Content of all output streams, by the prefix of their ``valid`` and ``ready``."""
    streams = {"o": output_payload(config), **_second_stream(config, "o", "packer")}
    if config.weight_select == "gather":
        streams["o_index"] = _payload(config, ("index",))
    return streams


def _axi_ports(config: UnitConfig) -> tuple[Port, ...]:
    """Those of a tile behind AXI: three streams of beats, and a port for its registers."""

    def stream(prefix: str, bits: int, *, user: int = 0, last: bool = True) -> list[Port]:
        is_input = prefix.startswith("s")
        forward: Literal["input", "output"] = "input" if is_input else "output"
        backward: Literal["input", "output"] = "output" if is_input else "input"
        width = beat_width(bits, config.word)
        signals: list[tuple[str, Literal["input", "output"], Field]] = [
            ("tvalid", forward, Field("valid", 1, 1, "bit")),
            ("tready", backward, Field("ready", 1, 1, "bit")),
            ("tdata", forward, Field("byte", width // 8, 8, "unsigned")),
        ]
        if last:
            signals.append(("tlast", forward, Field("last", 1, 1, "bit")))
        if user:
            signals.append(("tuser", forward, Field("row", user, 1, "bit")))
        return [
            Port(f"{prefix}_{name}", direction, field.count * field.width, (field,))
            for name, direction, field in signals
        ]

    return (
        Port("aclk", "input", 1, (Field("clock", 1, 1, "bit"),)),
        Port("aresetn", "input", 1, (Field("reset", 1, 1, "bit"),)),
        *stream("s_axis_activations", config.stream_bits("data")),
        *stream("s_axis_weights", config.stream_bits("weights"), last=False),
        *stream("m_axis_results", config.stream_bits("sum"), user=config.rows),
        *(
            Port(f"s_axi_{name}", direction, width, (Field(name, 1, width, "unsigned"),))
            for name, (direction, width) in LITE_SIGNALS.items()
        ),
    )


def _second_stream(config: UnitConfig, prefix: str, unit: str) -> dict[str, dict[str, Field]]:
    """That of the metadata of a split packed stream."""
    if config.unit != unit or config.layout != "split":
        return {}
    names = ("meta_data", "meta_bytes", "meta_last")
    return {f"{prefix}_meta": _payload(config, names)}


def ports(config: UnitConfig) -> tuple[Port, ...]:
    """All ports of the top module, in the order of the manifest."""
    if config.unit == "axi_tile":
        return _axi_ports(config)

    def port(name: str, direction: Literal["input", "output"], field: Field) -> Port:
        return Port(name, direction, field.count * field.width, (field,))

    bit = {name: Field(name, 1, 1, "bit") for name in ("clock", "reset", "valid", "ready")}
    result = [port("clk", "input", bit["clock"]), port("rst", "input", bit["reset"])]
    for prefix, payload in input_streams(config).items():
        result.append(port(f"{prefix}_valid", "input", bit["valid"]))
        result.append(port(f"{prefix}_ready", "output", bit["ready"]))
        result += [port(f"{prefix[0]}_{name}", "input", field) for name, field in payload.items()]
    for prefix, payload in output_streams(config).items():
        result.append(port(f"{prefix}_valid", "output", bit["valid"]))
        result.append(port(f"{prefix}_ready", "input", bit["ready"]))
        result += [port(f"{prefix[0]}_{name}", "output", field) for name, field in payload.items()]
    return tuple(result)
