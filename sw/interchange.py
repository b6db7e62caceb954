"""Dense tensors to packed streams and back, and files of them.

A token is one row of a tensor (tokens, features).  The bytes of its groups are those that
`sw.packed` describes, so that hardware and file hold the same.
"""

import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hw.config import ConfigError, UnitConfig
from hw.files import write_files
from sw.codes import codes_of, numbers_of
from sw.errors import InputError
from sw.golden import sparsify
from sw.groups import to_groups
from sw.linears import linear_order
from sw.metadata import decode, encode
from sw.packed import PackedFormat, pack_tokens, unpack_token
from sw.packing import unpack
from sw.tensor_file import read_tensors, tensor_file_bytes

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "STREAMS",
    "Packed",
    "PackedError",
    "compress",
    "expand",
    "pack_groups",
    "read_packed",
    "unpack_groups",
    "write_packed",
]

#: Value of the metadata key ``format`` of a file.
FORMAT = "nmsparse packed"

#: Value of the metadata key ``format_version`` of a file.
FORMAT_VERSION = "1"

#: Names of the streams of each layout, in the order in which `sw.packed` gives them.
STREAMS: dict[str, tuple[str, ...]] = {
    "interleaved": ("data",),
    "split": ("values", "metadata"),
}

#: What a file says of each tensor, under ``<name>.<key>``.
_KEYS = ("pattern", "dtype", "code", "layout", "tokens", "features")

#: Dense elements that are worked on at once: each takes up to 128 bytes on the way to its bits.
_BLOCK = 1 << 18

_STREAM_KIND = "1-dimensional torch.uint8"

_PATTERN = re.compile(r"([1-9][0-9]{0,17}):([1-9][0-9]{0,17})")
_COUNT = re.compile(r"[1-9][0-9]{0,17}")


class PackedError(InputError):
    """A packed tensor, or a file of them, breaks a rule of the format."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A tensor (tokens, features) as bytes.

    The bytes of a tensor are checked for their number here, and for their content where they are
    read: in `expand`, `unpack_groups` and `read_packed`.

    Parameters
    ----------
    streams
        uint8 (bytes,), one for each of ``STREAMS[format.layout]``: all tokens behind each other.
        All tokens of a stream have the same number of bytes.
    shape
        Tokens and features, each at least 1.
    format
        What the bits are.

    Raises
    ------
    TypeError
        A value is of the wrong kind.
    PackedError
        A stream is missing, or has another number of bytes.
    """

    streams: tuple[torch.Tensor, ...]
    shape: tuple[int, int]
    format: PackedFormat

    def __post_init__(self) -> None:
        _check_format(self.format)
        object.__setattr__(self, "streams", tuple(self.streams))
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        for stream in self.streams:
            if not isinstance(stream, torch.Tensor) or _kind(stream) != _STREAM_KIND:
                kind = _kind(stream) if isinstance(stream, torch.Tensor) else repr(stream)
                raise TypeError(f"packed must have streams of {_STREAM_KIND}, not {kind}")
        for rule in _broken_size_rules(self):
            raise PackedError(f"packed {rule}")

    @property
    def groups(self) -> int:
        """Groups of one token."""
        return -(-self.shape[1] // self.format.m)


def _check_format(packed_format: PackedFormat) -> None:
    if not isinstance(packed_format, PackedFormat):
        raise TypeError(f"format must be a PackedFormat, not {packed_format!r}")


def _kind(stream: torch.Tensor) -> str:
    return f"{stream.ndim}-dimensional {stream.dtype}"


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    try:
        tokens, features = map(operator.index, shape)
    except (TypeError, ValueError) as error:
        raise TypeError(f"shape must be (tokens, features), not {shape!r}") from error
    if tokens < 1 or features < 1:
        raise PackedError(f"shape must be at least 1 token and 1 feature, not {(tokens, features)}")
    return tokens, features


def _broken_size_rules(packed: Packed) -> Iterator[str]:
    names = STREAMS[packed.format.layout]
    if len(packed.streams) != len(names):
        yield (
            f"must have the streams {' and '.join(names)} in layout {packed.format.layout}, "
            f"not {len(packed.streams)}"
        )
    tokens, features = packed.shape
    expected = tuple(tokens * count for count in packed.format.byte_counts(packed.groups))
    lengths = tuple(map(len, packed.streams))
    if lengths != expected:
        yield (
            f"must have {_listed(expected)} bytes for {tokens} tokens of {features} features, "
            f"not {_listed(lengths)}"
        )


def _listed(counts: tuple[int, ...]) -> str:
    return " and ".join(map(str, counts))


def compress(numbers: torch.Tensor, packed_format: PackedFormat) -> Packed:
    """Keep the n largest of every m features of each token, and pack them.

    Who is kept is what the sparsifier keeps: by magnitude, on a tie the lower lane.  A row whose
    length is not a multiple of m is padded with +0.

    Parameters
    ----------
    numbers
        (tokens, features) of type ``sw.codes.TORCH_DTYPES[packed_format.dtype]``, not empty.
    packed_format
        The format to pack to.

    Raises
    ------
    TypeError
        The tensor has another type, or the format is none.
    ValueError
        It has another shape or is empty, or an int4 number is out of range.

    Examples
    --------
    >>> numbers = torch.tensor([[1, -3, 0, 0, 0, 0, 5, -7]], dtype=torch.int8)
    >>> packed = compress(numbers, PackedFormat(n=2, m=4, dtype="int8"))
    >>> bytes(packed.streams[0].tolist()).hex(" ")
    '13 d0 cf 05 f9'
    """
    _check_format(packed_format)
    if not isinstance(numbers, torch.Tensor):
        raise TypeError(f"numbers must be a torch.Tensor, not {numbers!r}")
    if numbers.ndim != 2 or numbers.numel() == 0:
        raise PackedError(
            f"numbers must have shape (tokens, features), both at least 1, "
            f"not {tuple(numbers.shape)}"
        )
    config = UnitConfig(n=packed_format.n, m=packed_format.m, dtype=packed_format.dtype)
    numbers = numbers.detach().cpu()
    blocks = []
    for block in _token_blocks(len(numbers), numbers.shape[1]):
        codes = to_groups(codes_of(numbers[block], packed_format.dtype), packed_format.m)
        blocks.append(_pack_block(*sparsify(config, codes), packed_format))
    tokens, features = numbers.shape
    return Packed(_joined(blocks), (tokens, features), packed_format)


def pack_groups(
    values: torch.Tensor, mask: torch.Tensor, features: int, packed_format: PackedFormat
) -> Packed:
    """Pack groups whose kept lanes are known.

    Parameters
    ----------
    values
        Codes of the kept values: int64 (tokens, groups, n), slot 0 first.
    mask
        bool (tokens, groups, m), exactly n true in each group.
    features
        Features of a token; ceil(features / m) groups hold them.
    packed_format
        The format to pack to.

    Raises
    ------
    TypeError
        A tensor has another type.
    ValueError
        A mask keeps another number of lanes, the shapes do not fit, or a code does not.
    """
    _check_format(packed_format)
    for subject, tensor, dtype in (("values", values, torch.int64), ("mask", mask, torch.bool)):
        if tensor.dtype != dtype:
            raise TypeError(f"{subject} must be {dtype}, not {tensor.dtype}")
        if tensor.ndim != 3:
            raise PackedError(f"{subject} must have 3 dimensions, not {tensor.ndim}")
    tokens, features = _checked_shape((values.shape[0], features))
    groups = -(-features // packed_format.m)
    n, m, width = packed_format.n, packed_format.m, packed_format.value_bits // packed_format.n
    for subject, tensor, expected in (
        ("values", values, (tokens, groups, n)),
        ("mask", mask, (tokens, groups, m)),
    ):
        if tensor.shape != expected:
            raise PackedError(f"{subject} must have shape {expected}, not {tuple(tensor.shape)}")
    if bool(((values < 0) | (values >> width != 0)).any()):
        raise PackedError(
            f"values must be codes of {width} bits, not {values.min()} .. {values.max()}"
        )
    blocks = [
        _pack_block(values[block].cpu(), mask[block].cpu(), packed_format)
        for block in _token_blocks(tokens, features)
    ]
    return Packed(_joined(blocks), (tokens, features), packed_format)


def _token_blocks(tokens: int, features: int) -> list[slice]:
    step = max(1, _BLOCK // features)
    return [slice(start, min(start + step, tokens)) for start in range(0, tokens, step)]


def _pack_block(
    values: torch.Tensor, mask: torch.Tensor, packed_format: PackedFormat
) -> tuple[torch.Tensor, ...]:
    """Streams of some tokens, of values (T, G, n) and mask (T, G, m)."""
    fields = encode(mask, packed_format.n, packed_format.metadata)
    last = torch.zeros(values.shape[:2], dtype=torch.int64)
    last[:, -1] = 1
    tokens = pack_tokens(values.flatten(0, 1), fields.flatten(0, 1), last.flatten(), packed_format)
    return tuple(
        torch.from_numpy(np.frombuffer(bytearray(b"".join(stream)), np.uint8))
        for stream in zip(*tokens, strict=True)
    )


def _joined(blocks: list[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*blocks, strict=True))


def expand(packed: Packed) -> torch.Tensor:
    """The dense tensor again: +0 where a value was dropped, the padding cut away.

    Returns
    -------
    torch.Tensor
        (tokens, features) of type ``sw.codes.TORCH_DTYPES[packed.format.dtype]``.

    Raises
    ------
    PackedError
        Metadata names no mask, padding holds a value, or bits after the last group are 1.

    Examples
    --------
    >>> stream = torch.tensor([0x13, 0xD0, 0xCF, 0x05, 0xF9], dtype=torch.uint8)
    >>> expand(Packed((stream,), (1, 8), PackedFormat(n=2, m=4, dtype="int8"))).tolist()
    [[1, -3, 0, 0, 0, 0, 5, -7]]
    """
    features = packed.shape[1]
    dense = [
        numbers_of(unpack(values, mask).flatten(1)[:, :features], packed.format.dtype)
        for values, mask in _unpack_blocks(packed, "packed")
    ]
    return torch.cat(dense)


def unpack_groups(packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
    """Kept values and masks: codes int64 (tokens, groups, n), bool (tokens, groups, m).

    Raises
    ------
    PackedError
        As in `expand`.
    """
    values, masks = zip(*_unpack_blocks(packed, "packed"), strict=True)
    return torch.cat(values), torch.cat(masks)


def _unpack_blocks(packed: Packed, subject: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Values (T, G, n) and masks (T, G, m) of some tokens after the others, all checked."""
    tokens = packed.shape[0]
    streams = [stream.cpu().unflatten(0, (tokens, -1)) for stream in packed.streams]
    _check_filling(packed, streams, subject)
    n, m = packed.format.n, packed.format.m
    for block in _token_blocks(*packed.shape):
        unpacked = [
            unpack_token(
                [stream[token].numpy().tobytes() for stream in streams],
                packed.groups,
                packed.format,
            )
            for token in range(block.start, block.stop)
        ]
        values, fields = (torch.stack(parts) for parts in zip(*unpacked, strict=True))
        mask, error = decode(fields, n, m, packed.format.metadata)
        if bool(error.any()):
            token, group = error.nonzero()[0].tolist()
            raise PackedError(
                f"{subject} must have {packed.format.metadata} metadata that names {n} of {m} "
                f"lanes, not {fields[token, group].tolist()} in token {block.start + token}, "
                f"group {group}"
            )
        _check_padding(packed, unpack(values, mask), block.start, subject)
        yield values, mask


def _check_filling(packed: Packed, streams: list[torch.Tensor], subject: str) -> None:
    """The bits between the last group of a token and the end of its last byte are 0."""
    sizes: tuple[int, ...] = (packed.format.value_bits, packed.format.metadata_bits)
    if packed.format.layout == "interleaved":
        sizes = (sum(sizes),)
    for stream, size in zip(streams, sizes, strict=True):
        used = packed.groups * size % 8
        wrong = (stream[:, -1] >> used if used else torch.zeros(1)).nonzero()
        if len(wrong):
            token = int(wrong[0])
            raise PackedError(
                f"{subject} must have zeros after the last group of a token, "
                f"not {int(stream[token, -1]):#04x} as the last byte of token {token}"
            )


def _check_padding(packed: Packed, dense: torch.Tensor, first: int, subject: str) -> None:
    """The features that only fill the last group are +0; dense (T, G, m)."""
    padding = dense.flatten(1)[:, packed.shape[1] :]
    wrong = padding.nonzero()
    if len(wrong):
        token, place = wrong[0].tolist()
        raise PackedError(
            f"{subject} must have +0 in the padding of a row, "
            f"not code {int(padding[token, place]):#x} in token {first + token}"
        )


def write_packed(path: Path | str, tensors: Mapping[str, Packed]) -> None:
    """Write packed tensors to a safetensors file, whole or not at all; missing folders are made.

    Equal tensors give equal bytes.

    Parameters
    ----------
    path
        The file.
    tensors
        At least one, by name.

    Raises
    ------
    TypeError
        A name is no string, or what it names is not `Packed`.
    PackedError
        There is no tensor, or a name is empty.
    OSError
        The file cannot be written.
    """
    if not tensors:
        raise PackedError("tensors must be at least one, not 0")
    for name, packed in tensors.items():
        if not isinstance(name, str) or not isinstance(packed, Packed):
            raise TypeError(f"tensors must be Packed by name, not {packed!r} by {name!r}")
        if not name:
            raise PackedError("tensors must have names, not ''")
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION}
    streams: dict[str, torch.Tensor] = {}
    for name, packed in tensors.items():
        metadata |= {f"{name}.{key}": text for key, text in _described(packed).items()}
        for stream, content in zip(STREAMS[packed.format.layout], packed.streams, strict=True):
            streams[f"{name}.{stream}"] = content.cpu()
    write_files({Path(path): tensor_file_bytes(streams, metadata)})


def _described(packed: Packed) -> dict[str, str]:
    tokens, features = packed.shape
    return {
        "pattern": f"{packed.format.n}:{packed.format.m}",
        "dtype": packed.format.dtype,
        "code": packed.format.metadata,
        "layout": packed.format.layout,
        "tokens": str(tokens),
        "features": str(features),
    }


def read_packed(path: Path | str) -> dict[str, Packed]:
    """Read a file that `write_packed` wrote.

    Everything is checked, down to the metadata of each group: what is returned can be expanded.
    Layers are in the order of their numbers, foreign names behind them.

    Raises
    ------
    PackedError
        The file does not exist, cannot be read, is not a safetensors file, is of another format or
        version, or something in it breaks a rule; the text names file, tensor, rule and value, and
        token and group where metadata names no mask.
    """
    path = Path(path)
    subject = f"packed file {str(path)!r}"
    streams, metadata = read_tensors(path, subject, PackedError)
    for key, expected in (("format", FORMAT), ("format_version", FORMAT_VERSION)):
        if metadata.get(key) != expected:
            raise PackedError(f"{subject} must have {key} {expected!r}, not {metadata.get(key)!r}")
    described = {key.removesuffix(".pattern") for key in metadata if key.endswith(".pattern")}
    names = sorted(described | {name.rpartition(".")[0] for name in streams}, key=linear_order)
    if not names:
        raise PackedError(f"{subject} must hold at least one tensor, not 0")
    return {name: _read_tensor(name, streams, metadata, subject) for name in names}


def _read_tensor(
    name: str, streams: dict[str, torch.Tensor], metadata: dict[str, str], subject: str
) -> Packed:
    subject = f"tensor {name!r} of {subject}"
    texts = {key: metadata.get(f"{name}.{key}") for key in _KEYS}
    packed_format = _read_format(texts, subject)
    present = sorted(
        stream for prefix, _, stream in (key.rpartition(".") for key in streams) if prefix == name
    )
    wanted = STREAMS[packed_format.layout]
    if present != sorted(wanted):
        raise PackedError(
            f"{subject} must have the streams {' and '.join(wanted)} in layout "
            f"{packed_format.layout}, not {' and '.join(present) or 'none'}"
        )
    found = tuple(streams[f"{name}.{stream}"] for stream in wanted)
    for stream in found:
        if _kind(stream) != _STREAM_KIND:
            raise PackedError(f"{subject} must have streams of {_STREAM_KIND}, not {_kind(stream)}")
    shape = _read_count(texts, "tokens", subject), _read_count(texts, "features", subject)
    try:
        packed = Packed(found, shape, packed_format)
    except PackedError as error:
        raise PackedError(f"{subject}{str(error).removeprefix('packed')}") from error
    for _ in _unpack_blocks(packed, subject):
        pass
    return packed


def _read_format(texts: dict[str, str | None], subject: str) -> PackedFormat:
    for key, text in texts.items():
        if text is None:
            raise PackedError(f"{subject} must say its {key} in the metadata, not leave it out")
    pattern = texts["pattern"] or ""
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise PackedError(f"{subject} must have a pattern n:m, not {pattern!r}")
    try:
        return PackedFormat(
            n=int(match[1]),
            m=int(match[2]),
            dtype=texts["dtype"] or "",
            metadata=texts["code"] or "",
            layout=texts["layout"] or "",
        )
    except ConfigError as error:
        raise PackedError(f"{subject} must have a legal format: {error}") from error


def _read_count(texts: dict[str, str | None], key: str, subject: str) -> int:
    text = texts[key] or ""
    if not _COUNT.fullmatch(text):
        raise PackedError(f"{subject} must have a number of {key} of at least 1, not {text!r}")
    return int(text)
