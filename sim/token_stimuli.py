"""What the benches send to the units that work on a token's statistics, and on a PE's sums."""

from dataclasses import replace

import torch

from hw.config import FEATURES_WIDTH, STATISTICS_WIDTHS, UnitConfig
from hw.formats import FP32
from sim.special_codes import choice, special_codes
from sw.activations import read_activations
from sw.codes import codes_of, numbers_of, signed
from sw.golden import Payload, sparsify, unit_model
from sw.groups import to_groups
from sw.quantize import to_codes

__all__ = ["captured_tokens", "correction_stimuli", "epilogue_stimuli"]

#: Numbers of activations about which something is special.
_FEATURES = [1, 2, 3, 4, 5, 576, 65535, 65536, 65537, (1 << FEATURES_WIDTH) - 1]

_STATISTICS = ("sum", "squares", "kept_sum", "kept_squares")


def captured_tokens(
    config: UnitConfig, count: int, generator: torch.Generator, captured: str | None
) -> tuple[Payload, torch.Tensor]:
    """Input of a statistics unit for `count` captured tokens, and their numbers of activations.

    What is kept is what a sparsifier of the same pattern and format keeps.

    Parameters
    ----------
    config
        Pattern and number format.
    count
        Tokens.
    generator
        Chooses them.
    captured
        File of activations.

    Returns
    -------
    dict
        ``data``, ``mask``, ``last``.
    torch.Tensor
        int64 (count, 1).
    """
    if captured is None:
        raise ValueError("captured must be a file of activations for kind 'captured', not None")
    tensors = list(read_activations(captured).tensors.values())
    rows = [row for tensor in tensors for row in tensor]
    order = torch.randperm(len(rows), generator=generator)
    chosen = [rows[k] for k in order[torch.arange(count) % len(rows)].tolist()]
    groups = [to_groups(to_codes(row, config.dtype), config.m) for row in chosen]
    data = torch.cat(groups)
    _, mask = sparsify(replace(config, unit="sparsifier", pipeline=1), data)
    ends = torch.tensor([len(group) for group in groups]).cumsum(0) - 1
    last = torch.zeros(len(data), 1, dtype=torch.int64)
    last[ends] = 1
    features = torch.tensor([[len(row)] for row in chosen])
    return {"data": data, "mask": mask.to(torch.int64), "last": last}, features


def correction_stimuli(
    config: UnitConfig, kind: str, count: int, generator: torch.Generator, captured: str | None
) -> Payload:
    """Statistics of `count` tokens.

    ``random``: half of them any codes, the others such as tokens have.  ``ties``: tokens all of
    whose activations are nearly equal, so that everything cancels.  ``corners``: some special codes
    among others, special numbers of activations.
    """
    if kind == "captured":
        tokens, features = captured_tokens(config, count, generator, captured)
        found = unit_model(replace(config, unit="statistics", pipeline=1))(tokens)
        return {**{name: found[name] for name in _STATISTICS}, "features": features}
    widths = dict(zip(_STATISTICS, 2 * STATISTICS_WIDTHS, strict=True))
    is_float = config.format.kind == "float"
    if is_float:
        widths = dict.fromkeys(widths, FP32.width)
    features = torch.randint(1, 1 << FEATURES_WIDTH, (count, 1), generator=generator)
    few = torch.randint(1, 9, (count, 1), generator=generator)
    features = torch.where(torch.rand(count, 1, generator=generator) < 0.2, few, features)
    anything = {
        name: torch.randint(1 << width, (count, 1), generator=generator)
        for name, width in widths.items()
    }
    likely = _likely(config, features, generator, spread=0 if kind == "ties" else 1)
    is_likely = torch.rand(count, 1, generator=generator) < (1 if kind == "ties" else 0.5)
    if kind == "corners":
        features = choice(_FEATURES, (count, 1), generator)
        for name, width in widths.items():
            special = [0, 1, 2, (1 << width - 1) - 1, 1 << width - 1, (1 << width) - 1]
            special = special_codes(FP32) if is_float else special
            anything[name] = choice(special, (count, 1), generator)
        # Each by itself.
        is_likely = torch.rand(count, len(widths), generator=generator) < 0.6
    statistics = {
        name: torch.where(is_likely[:, k % is_likely.shape[1]][:, None], likely[name], codes)
        for k, (name, codes) in enumerate(anything.items())
    }
    if kind == "ties":
        # A few units in the last place off.
        noise = torch.randint(-2, 3, (count, 2), generator=generator)
        for k, name in enumerate(("squares", "kept_squares")):
            statistics[name] = (statistics[name] + noise[:, k : k + 1]).clamp(min=0)
    return {**statistics, "features": features}


def _likely(
    config: UnitConfig, features: torch.Tensor, generator: torch.Generator, *, spread: float
) -> Payload:
    """Statistics such as tokens have, of means of all sizes.

    The deviation is `spread` times the mean, times a number around 1.
    """
    shape = features.shape
    is_float = config.format.kind == "float"
    low, high = (-60, 50) if is_float else (0, config.format.width - 1)
    size = 2.0 ** torch.randint(low, high, shape, generator=generator)
    mean = size * torch.randn(shape, generator=generator, dtype=torch.float64)
    deviation = spread * mean * torch.randn(shape, generator=generator, dtype=torch.float64).exp()
    share = torch.rand(shape, generator=generator, dtype=torch.float64).sqrt()
    result = {}
    for prefix, count in (("", features.double()), ("kept_", (features * share).floor())):
        if is_float:
            result[f"{prefix}sum"] = _codes(count * mean)
            result[f"{prefix}squares"] = _codes(count * (mean**2 + deviation**2))
            continue
        total = (count * mean.round()).long()
        squares = (count * (mean.round() ** 2 + deviation.round() ** 2)).long()
        for name, number, width in zip(
            ("sum", "squares"), (total, squares), STATISTICS_WIDTHS, strict=True
        ):
            result[prefix + name] = number & ((1 << width) - 1)
    return result


def epilogue_stimuli(
    config: UnitConfig, kind: str, count: int, generator: torch.Generator, captured: str | None
) -> Payload:
    """Sums and what is done to them, of `count` transfers.

    ``random``: half of them any codes, the others around 1.  ``ties``: a bias that takes back what
    the sum brings, up to some units in the last place.  ``corners``: some special codes among
    others.  ``captured``: ratio and mean of captured tokens, and sums of what they keep.
    """
    shape = (count, 1)
    is_float = config.format.kind == "float"
    acc_mask = (1 << config.acc_width) - 1 if config.acc_width < 64 else -1
    names = ("sum", "ratio", "gain", "shift", "row_sum", "bias")
    numbers = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in names}
    if not is_float:
        places = torch.randint(1, config.acc_width, shape, generator=generator)
        integers = torch.randint(-(1 << 62), 1 << 62, shape, generator=generator) >> (63 - places)
        numbers["sum"] = integers.double()
    if kind == "captured":
        numbers |= _captured_sums(config, count, generator, captured)
    if kind == "ties":
        scaled = numbers["sum"] * numbers["ratio"] * numbers["gain"]
        numbers["bias"] = -scaled - numbers["shift"] * numbers["row_sum"]
    codes = {name: _codes(number) for name, number in numbers.items()}
    if kind == "ties":
        noise = torch.randint(-2, 3, shape, generator=generator)
        codes["bias"] = (codes["bias"] + noise) & ((1 << FP32.width) - 1)
    if not is_float:
        codes["sum"] = numbers["sum"].long() & acc_mask
    if kind == "random":
        is_any = torch.rand(shape, generator=generator) < 0.5
        for name in names if is_float else names[1:]:
            drawn = torch.randint(1 << FP32.width, shape, generator=generator)
            codes[name] = torch.where(is_any, drawn, codes[name])
    if kind == "corners":
        top = 1 << (config.acc_width - 1)
        extremes = (torch.tensor([0, 1, -1, top - 1, -top, top >> 1]) & acc_mask).tolist()
        for name in names:
            is_integer = name == "sum" and not is_float
            drawn = choice(extremes if is_integer else special_codes(FP32), shape, generator)
            is_special = torch.rand(shape, generator=generator) < 0.3
            codes[name] = torch.where(is_special, drawn, codes[name])
    return codes


def _captured_sums(
    config: UnitConfig, count: int, generator: torch.Generator, captured: str | None
) -> dict[str, torch.Tensor]:
    """Ratio and mean of captured tokens; products of what they keep with weights, added up."""
    tokens, features = captured_tokens(config, count, generator, captured)
    found = unit_model(replace(config, unit="statistics", pipeline=1))(tokens)
    corrected = unit_model(replace(config, unit="correction", pipeline=1))(
        {**{name: found[name] for name in _STATISTICS}, "features": features}
    )
    weights = torch.randint(-127, 128, tokens["data"].shape, generator=generator).double()
    if config.format.kind == "float":
        values = numbers_of(tokens["data"], config.dtype).double()
    else:
        values = signed(tokens["data"], config.format.width).double()
    sums = torch.zeros(2, count, dtype=torch.float64)
    token = tokens["last"].flatten().cumsum(0) - tokens["last"].flatten()
    for k, products in enumerate((values * tokens["mask"] * weights, weights)):
        sums[k].index_add_(0, token, products.sum(-1))
    return {
        "sum": sums[0].unsqueeze(-1),
        "row_sum": sums[1].unsqueeze(-1),
        "ratio": numbers_of(corrected["ratio"], FP32.name),
        "shift": numbers_of(corrected["mean"], FP32.name),
    }


def _codes(numbers: torch.Tensor) -> torch.Tensor:
    return codes_of(numbers.float(), FP32.name)
