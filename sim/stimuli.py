"""What the benches send: random, tie-heavy, corner and captured payloads."""

from dataclasses import replace
from itertools import combinations
from math import comb

import torch

from hw.config import SHIFTED, TOKEN_COUNT_WIDTH, UnitConfig
from hw.formats import NumberFormat
from hw.ports import input_payload, input_streams
from sim.special_codes import choice, special_codes
from sim.token_stimuli import correction_stimuli, epilogue_stimuli
from sim.weight_groups import weight_groups
from sw.activations import Activations, read_activations
from sw.golden import Payload, sparsify, unit_model
from sw.metadata import encode
from sw.packing import pack
from sw.quantize import code_groups

__all__ = ["KINDS", "stimuli"]

#: random: all bit patterns alike.  ties: few distinct magnitudes in a group.  corners: the special
#: numbers of a format and groups of them.  captured: a language model's activations.
KINDS = ("random", "ties", "corners", "captured")

#: Above this many masks of a pattern a random choice is sent: in units that do nothing but write or
#: read metadata, and in the others.
ALL_MASKS = 20_000
SOME_MASKS = 1_000

#: More masks than that for each transfer asked for are not sent.
MASKS_PER_TRANSFER = 50


def _corner_groups(number_format: NumberFormat, m: int, generator: torch.Generator) -> torch.Tensor:
    special = special_codes(number_format)
    equal = torch.tensor(special).unsqueeze(-1).expand(-1, m)
    zero = torch.zeros(m, m, dtype=torch.int64)
    one_hot = [zero.clone().fill_diagonal_(code) for code in special[:10]]
    # Neighbouring codes, rising and falling: every comparator decides by its lowest bit.
    ramp = torch.arange(m).unsqueeze(0) + torch.arange(1, 9).unsqueeze(-1)
    ramp &= (1 << number_format.key_width) - 1
    mixed = choice(special, (64, m), generator)
    return torch.cat([equal, *one_hot, ramp, ramp.flip(-1), mixed])


def _captured(path: str | None) -> Activations:
    if path is None:
        raise ValueError("captured must be a file of activations for kind 'captured', not None")
    return read_activations(path)


def _data(
    config: UnitConfig, kind: str, count: int, generator: torch.Generator, captured: str | None
) -> torch.Tensor:
    """Codes of `count` groups (count, m)."""
    number_format = config.format
    shape = (count, config.m)
    if kind == "random":
        return torch.randint(1 << number_format.width, shape, generator=generator)
    if kind == "ties":
        # Up to four magnitudes a group, with random signs.
        palette = torch.randint(1 << number_format.width, (count, 4), generator=generator)
        codes = palette.gather(-1, torch.randint(4, shape, generator=generator))
        signs = torch.randint(2, shape, generator=generator) << (number_format.width - 1)
        return codes ^ signs if number_format.kind == "float" else codes
    if kind == "corners":
        groups = _corner_groups(number_format, config.m, generator)
    else:
        groups = code_groups(_captured(captured), config.m, config.dtype)
        # Groups of all layers, whatever the count.
        groups = groups[torch.randperm(len(groups), generator=generator)]
    return groups[torch.arange(count) % len(groups)]


def _masks(
    config: UnitConfig, kind: str, count: int, generator: torch.Generator, captured: str | None
) -> torch.Tensor:
    """Masks with exactly n ones (count, m): all of them for ``corners`` where they are few."""
    n, m = config.n, config.m
    limit = ALL_MASKS if config.unit in ("encoder", "decoder") else SOME_MASKS
    # Where few transfers are asked for, as under stalls, not many times as many.
    limit = min(limit, MASKS_PER_TRANSFER * count)
    if kind == "corners" and comb(m, n) <= limit:
        lanes = torch.tensor(list(combinations(range(m), n)))
        masks = torch.zeros(len(lanes), m, dtype=torch.bool).scatter(-1, lanes, True)
        return masks[torch.arange(max(count, len(masks))) % len(masks)]
    return sparsify(config, _data(config, kind, count, generator, captured))[1]


def _metadata(
    config: UnitConfig,
    kind: str,
    count: int,
    generator: torch.Generator,
    captured: str | None,
    *,
    illegal: bool,
) -> torch.Tensor:
    """Metadata fields; with `illegal` as of `_with_faults`."""
    meta = encode(_masks(config, kind, count, generator, captured), config.n, config.metadata)
    return _with_faults(config, meta, generator) if illegal else meta


def _with_faults(
    config: UnitConfig, meta: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Metadata fields, one in four transfers with a code that may be illegal."""
    if config.metadata == "decoded":
        # All else in it is right by definition.
        meta = meta.clone()
        meta[:, -1] = (torch.rand(len(meta), generator=generator) < 0.25).to(torch.int64)
        return meta
    # One field replaced by any value is the smallest fault; all fields at random the largest.
    limit = {"index": 1 << config.index_width, "enumerative": 1 << config.metadata_width}.get(
        config.metadata, 2
    )
    anything = torch.randint(limit, meta.shape, generator=generator)
    everywhere = torch.rand(len(meta), 1, generator=generator) < 0.5
    field = torch.randint(meta.shape[-1], (len(meta), 1), generator=generator)
    somewhere = torch.arange(meta.shape[-1]) == field
    faulty = torch.rand(len(meta), 1, generator=generator) < 0.25
    return torch.where(faulty & (everywhere | somewhere), anything, meta)


def _ends(count: int, mean_length: int, generator: torch.Generator) -> torch.Tensor:
    """Flags that end tokens or reductions of random length; the last transfer ends one."""
    last = (torch.rand(count, 1, generator=generator) < 1 / mean_length).to(torch.int64)
    last[-1] = 1
    return last


def _scales(config: UnitConfig, kind: str, count: int, generator: torch.Generator) -> torch.Tensor:
    """Codes of the scales of `count` groups (count, m)."""
    limit = 1 << input_payload(config)["scale"].width
    shape = (count, config.m)
    if kind == "corners":
        return choice([0, 1, limit // 2, limit - 1], shape, generator)
    scale = torch.randint(limit, shape, generator=generator)
    if kind == "ties":
        # Up to two scales a group.
        return scale[:, :2].gather(-1, torch.randint(2, shape, generator=generator))
    return scale


def _scales_and_shift(
    config: UnitConfig, kind: str, data: torch.Tensor, generator: torch.Generator
) -> Payload:
    """Scales and shift of groups where the unit has them."""
    result: Payload = {}
    count = len(data)
    if config.scale:
        result["scale"] = _scales(config, kind, count, generator)
    if config.shift in SHIFTED:
        lanes = config.m if config.shift == "lane" else 1
        if kind == "corners":
            special = special_codes(config.format)
            result["shift"] = choice(special, (count, lanes), generator)
        else:
            # Near the data, so that numbers cancel: one of them, its lowest bits another.
            near = data.gather(-1, torch.randint(config.m, (count, lanes), generator=generator))
            result["shift"] = near ^ torch.randint(4, near.shape, generator=generator)
    return result


def _operands(
    number_format: NumberFormat, kind: str, shape: tuple[int, int], generator: torch.Generator
) -> torch.Tensor:
    special = special_codes(number_format)
    anything = torch.randint(1 << number_format.width, shape, generator=generator)
    if number_format.kind == "int":
        return choice(special, shape, generator) if kind == "corners" else anything
    row = torch.rand(shape[0], 1, generator=generator)
    if kind == "corners":
        # A sum over NaN is NaN, whatever else is in it: few transfers have one, some infinities.
        most = number_format.overflow_key
        keys = [code & ((1 << number_format.key_width) - 1) for code in special]
        finite = [code for code, key in zip(special, keys, strict=True) if key < most]
        infinite = [1, number_format.bias << number_format.mantissa_width, most]
        infinite += [code | 1 << number_format.key_width for code in infinite]
        codes = choice(finite, shape, generator)
        if number_format.has_infinity:
            codes = torch.where(row < 0.12, choice(infinite, shape, generator), codes)
        return torch.where(row < 0.03, choice(special, shape, generator), codes)
    # Of floats drawn at random the largest decides alone; those around 1 add up and cancel.
    size = number_format.mantissa_width
    spread = 1 if kind == "ties" else 6
    field = number_format.bias + torch.randint(-spread, spread + 1, shape, generator=generator)
    mantissa = anything & ((1 << size) - 1)
    if kind == "ties":
        mantissa = choice([0, 1, (1 << size) - 1], shape, generator)
    sign = torch.randint(2, shape, generator=generator) << number_format.key_width
    around = sign | field << size | mantissa
    around = torch.where(torch.rand(shape, generator=generator) < 0.1, 0, around)
    return torch.where(row < (0.3 if kind == "random" else 0), anything, around)


def _packed_words(config: UnitConfig, groups: Payload, generator: torch.Generator) -> Payload:
    """The words of some groups; behind a token's end, and where bytes do not count, is garbage."""
    words = unit_model(replace(config, unit="packer"))(groups)
    for prefix in ("", "meta_"):
        if f"{prefix}data" not in words:
            continue
        data, counts, last = (words[f"{prefix}{name}"] for name in ("data", "bytes", "last"))
        garbage = torch.randint(256, data.shape, generator=generator)
        words[f"{prefix}data"] = torch.where(torch.arange(data.shape[-1]) < counts, data, garbage)
        anything = torch.randint(config.word // 8 + 1, counts.shape, generator=generator)
        words[f"{prefix}bytes"] = torch.where(last.bool(), counts, anything)
    return words


def _tables(config: UnitConfig, kind: str, count: int, generator: torch.Generator) -> Payload:
    """Tables for up to five tokens.

    Of up to an eighth of the words; with ``ties`` of one or two words; with ``corners`` of one
    word, or as many as a bank has, or more, so that they are cut.
    """
    depth = config.depth
    choices = {
        "ties": [1, 2],
        "corners": [1, depth, depth + 1, 2 * depth],
    }.get(kind, list(range(1, max(1, min(depth, count // 8)) + 1)))
    lengths = choice(choices, (count,), generator).cumsum(0)
    last = torch.zeros(count, 1, dtype=torch.int64)
    last[lengths[lengths < count] - 1] = 1
    last[-1] = 1
    # Words since the last one with `last`, itself included.
    places = torch.arange(1, count + 1)
    since = places - torch.where(last.flatten().roll(1).bool(), places - 1, 0).cummax(0).values
    ends = last.bool() | (since % depth == 0).unsqueeze(-1)
    few = torch.randint(6, (count, 1), generator=generator)
    # Before the end of a table it is not looked at.
    anything = torch.randint(1 << TOKEN_COUNT_WIDTH, (count, 1), generator=generator)
    return {
        "scale": _scales(config, kind, count, generator),
        "last": last,
        "tokens": torch.where(ends, few, anything),
    }


def _steps(
    config: UnitConfig, kind: str, count: int, generator: torch.Generator, captured: str | None
) -> Payload:
    """Groups of all rows and weights of all columns of `count` steps."""
    rows, cols = config.rows, config.cols
    data = _data(config, kind, count * rows, generator, captured)
    # Scales and shifts near the first row's activations.
    first = data.reshape(count, rows, config.m)[:, 0]
    common = _scales_and_shift(config, kind, first, generator)
    if config.shift == "token":
        common["shift"] = _scales_and_shift(config, kind, data, generator)["shift"]
    # Where nobody looks for patterns that do not exist, none is sent.
    patterns = 1 << config.pattern_width if config.check else len(config.patterns)
    payload = {
        "data": data,
        "pattern": torch.randint(patterns, (count * rows, 1), generator=generator),
        **common,
        "last": _ends(count, 4, generator),
        "weights": _operands(config.weight_format, kind, (count * cols, config.m), generator),
    }
    return {name: codes.reshape(count, -1) for name, codes in payload.items()}


def _products(
    config: UnitConfig, kind: str, count: int, generator: torch.Generator, captured: str | None
) -> Payload:
    """What a PE takes."""
    if kind == "captured":
        return _captured_products(config, count, generator, _captured(captured))
    meta = _metadata(config, kind, count, generator, captured, illegal=config.check)
    count = len(meta)
    streams = input_streams(config)
    weights = streams["i_weights" if config.weight_select == "gather" else "i"]["weights"].count
    more: Payload = {}
    if config.weights is not None:
        side = config.of_weights
        packed = _metadata(side, kind, count, generator, captured, illegal=config.check)
        # All masks come in the same order on both sides.
        shuffled = packed[torch.randperm(len(packed), generator=generator)]
        more["weight_meta"] = shuffled[torch.arange(count) % len(packed)]
    return {
        "values": _operands(config.format, kind, (count, config.n), generator),
        "meta": meta,
        "weights": _operands(config.weight_format, kind, (count, weights), generator),
        **more,
        "last": _ends(count, 4, generator),
    }


def _captured_products(
    config: UnitConfig, count: int, generator: torch.Generator, activations: Activations
) -> Payload:
    """Groups of activations, and the weights that they meet in the model."""
    groups = code_groups(activations, config.m, config.dtype)
    weights = weight_groups(activations, config.m, config.weight_format.name)
    # Groups of all layers, whatever the count.
    chosen = torch.randperm(len(groups), generator=generator)[torch.arange(count) % len(groups)]

    def packed(side: UnitConfig, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, mask = sparsify(side, codes)
        meta = encode(mask, side.n, side.metadata)
        return values, _with_faults(side, meta, generator) if config.check else meta

    values, meta = packed(config, groups[chosen])
    weights = weights[chosen]
    more: Payload = {}
    if config.weights is not None:
        weights, more["weight_meta"] = packed(config.of_weights, weights)
    elif config.weight_select == "gather":
        _, mask = sparsify(config, groups[chosen])
        weights = pack(weights, mask, config.n)
    last = _ends(count, 4, generator)
    return {"values": values, "meta": meta, "weights": weights, **more, "last": last}


def stimuli(
    config: UnitConfig, kind: str, count: int, seed: int, captured: str | None = None
) -> Payload:
    """Input payload of `count` transfers or a few more; the same for the same arguments.

    Parameters
    ----------
    config
        The unit.
    kind
        One of `KINDS`.
    count
        Transfers.
    seed
        Of the random numbers.
    captured
        File of activations, for the kind ``captured``.
    """
    generator = torch.Generator().manual_seed(seed)
    if config.unit in ("sparsifier", "selector"):
        data = _data(config, kind, count, generator, captured)
        return {
            "data": data,
            "last": _ends(len(data), 8, generator),
            **_scales_and_shift(config, kind, data, generator),
            # Every number that the ports can carry, those without a meaning included.
            "pattern": torch.randint(
                1 << config.pattern_width, (len(data), 1), generator=generator
            ),
            "n": torch.randint(1 << config.m.bit_length(), (len(data), 1), generator=generator),
        }
    if config.unit == "tile":
        return _steps(config, kind, count, generator, captured)
    if config.unit == "statistics":
        data = _data(config, kind, count, generator, captured)
        mask = torch.randint(2, data.shape, generator=generator)
        return {"data": data, "mask": mask, "last": _ends(len(data), 8, generator)}
    if config.unit == "scale_memory":
        return _tables(config, kind, count, generator)
    if config.unit == "correction":
        return correction_stimuli(config, kind, count, generator, captured)
    if config.unit == "epilogue":
        epilogue = epilogue_stimuli(config, kind, count, generator, captured)
        return epilogue | {"last": _ends(count, 8, generator), "error": _ends(count, 8, generator)}
    if config.unit == "encoder":
        return {"mask": _masks(config, kind, count, generator, captured).to(torch.int64)}
    if config.unit in ("packer", "unpacker"):
        meta = encode(_masks(config, kind, count, generator, captured), config.n, config.metadata)
        groups = {
            "values": _operands(config.format, kind, (len(meta), config.n), generator),
            "meta": meta,
            "last": _ends(len(meta), 8, generator),
        }
        return groups if config.unit == "packer" else _packed_words(config, groups, generator)
    if config.unit == "decompressor":
        meta = _metadata(config, kind, count, generator, captured, illegal=True)
        values = _operands(config.format, kind, (len(meta), config.n), generator)
        return {"values": values, "meta": meta, "last": _ends(len(meta), 8, generator)}
    if config.unit == "decoder":
        return {"meta": _metadata(config, kind, count, generator, captured, illegal=True)}
    return _products(config, kind, count, generator, captured)
