"""The ports of every emitted top module."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

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
        "sum": Field("sum", 1, config.acc_width, "signed"),
        **_statistics(config),
        "features": Field("features", 1, FEATURES_WIDTH, "unsigned"),
        "ratio": Field("ratio", 1, FP32.width, FP32.name),
        "mean": Field("mean", 1, FP32.width, FP32.name),
        **{
            name: Field(name, 1, FP32.width, FP32.name)
            for name in ("gain", "row_sum", "bias", "result")
        },
        **_in_fp32(config),
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


def _in_fp32(config: UnitConfig) -> dict[str, Field]:
    """What is fp32 in some units and not in others."""
    names = []
    if config.unit in ("pe", "epilogue") and config.format.kind == "float":
        names.append("sum")
    if config.unit == "epilogue":
        names.append("shift")
    return {name: Field(name, 1, FP32.width, FP32.name) for name in names}


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

    A port is called ``i_`` and its name here, in whichever stream it is.
    """
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


def _second_stream(config: UnitConfig, prefix: str, unit: str) -> dict[str, dict[str, Field]]:
    """That of the metadata of a split packed stream."""
    if config.unit != unit or config.layout != "split":
        return {}
    names = ("meta_data", "meta_bytes", "meta_last")
    return {f"{prefix}_meta": _payload(config, names)}


def ports(config: UnitConfig) -> tuple[Port, ...]:
    """All ports of the top module, in the order of the manifest."""

    def port(name: str, direction: Literal["input", "output"], field: Field) -> Port:
        return Port(name, direction, field.count * field.width, (field,))

    bit = {name: Field(name, 1, 1, "bit") for name in ("clock", "reset", "valid", "ready")}
    result = [port("clk", "input", bit["clock"]), port("rst", "input", bit["reset"])]
    for prefix, payload in input_streams(config).items():
        result.append(port(f"{prefix}_valid", "input", bit["valid"]))
        result.append(port(f"{prefix}_ready", "output", bit["ready"]))
        result += [port(f"i_{name}", "input", field) for name, field in payload.items()]
    for prefix, payload in output_streams(config).items():
        result.append(port(f"{prefix}_valid", "output", bit["valid"]))
        result.append(port(f"{prefix}_ready", "input", bit["ready"]))
        result += [port(f"o_{name}", "output", field) for name, field in payload.items()]
    return tuple(result)
