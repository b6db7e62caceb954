"""Golden models of the units: the payload of a stream in, the payload expected out.

A payload is a dictionary of int64 tensors (T, count): T transfers, one column for each element of
the port as `hw.ports` lists them, codes throughout.
"""

from collections.abc import Callable

import torch

from hw.config import SHIFTED, UnitConfig
from sw.codes import signed
from sw.dot_product import accumulate, slot_dot_product
from sw.epilogue import epilogue
from sw.float_arithmetic import subtract_shift
from sw.float_dot_product import float_dot_product
from sw.metadata import decode, encode
from sw.packed import PackedFormat
from sw.packing import pack, unpack
from sw.reductions import equal_reductions, reduction_count
from sw.run_time import (
    any_rank,
    code_bits,
    pack_dense,
    padded_index,
    select_any_n,
    select_flexible,
)
from sw.scale_memory import replay_tables
from sw.scores import exact_scores
from sw.selection import select
from sw.tile import meet, to_rows, whole_steps
from sw.token_correction import token_correction
from sw.token_statistics import token_statistics
from sw.word_stream import pack_words, unpack_words

__all__ = ["Payload", "scores", "sparsify", "unit_model"]

Payload = dict[str, torch.Tensor]


def scores(
    config: UnitConfig, data: torch.Tensor, scale: torch.Tensor | None = None
) -> torch.Tensor:
    """Integers by which lanes are compared, of codes of the same shape.

    The score of `hw.score_formats`, or its leading `score_bits`.

    Parameters
    ----------
    config
        The unit.
    data
        Codes of activations, after the shift if there is one.
    scale
        Codes of their scales, of a shape that broadcasts; None where the unit has none.
    """
    return exact_scores(data, scale, config.score) >> (config.score.width - config.key_width)


def sparsify(
    config: UnitConfig,
    data: torch.Tensor,
    *,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Packed codes (..., n) and mask (..., m) of groups of codes (..., m), the pattern fixed.

    Scales and shift are codes of shapes that broadcast, None where the unit has none.  What is
    packed is what is left after the shift.
    """
    data = shifted(config, data, shift)
    mask = select(scores(config, data, scale), config.n)
    return pack(data, mask, config.n), mask


def shifted(config: UnitConfig, data: torch.Tensor, shift: torch.Tensor | None) -> torch.Tensor:
    """Codes of data - shift in the activations' format; the data itself without a shift."""
    return data if shift is None else subtract_shift(data, shift, config.dtype)


def _mask(config: UnitConfig, inputs: Payload) -> torch.Tensor:
    keys = scores(config, inputs["data"], inputs.get("scale") if config.scale else None)
    if config.flexible:
        return select_flexible(keys, inputs["pattern"].flatten(), config.patterns)
    if config.n_runtime:
        return select_any_n(keys, inputs["n"].flatten())
    return select(keys, config.n)


def _metadata(config: UnitConfig, inputs: Payload, mask: torch.Tensor) -> torch.Tensor:
    if config.metadata == "bitmap":
        return mask.to(torch.int64)
    if config.flexible:
        pattern = inputs["pattern"].flatten()
        return code_bits(mask, pattern, config.patterns, config.metadata, config.metadata_width)
    if config.n_runtime and config.metadata == "index":
        return padded_index(mask, config.slots)
    if config.n_runtime and config.metadata == "enumerative":
        return any_rank(mask)
    if config.n_runtime:
        return mask[..., :-1].to(torch.int64)
    return encode(mask, config.n, config.metadata)


def _sparsifier(config: UnitConfig, inputs: Payload) -> Payload:
    inputs = _shifted_inputs(config, inputs)
    mask = _mask(config, inputs)
    result = {
        "values": pack_dense(inputs["data"], mask, config.slots),
        "meta": _metadata(config, inputs, mask),
        "last": inputs["last"],
    }
    if config.residual:
        # With nothing to drop the port has one bit.
        slots = config.residual_slots
        dropped = pack_dense(inputs["data"], ~mask, slots) if slots else 0 * inputs["last"]
        result["residual"] = dropped
    return result


def _selector(config: UnitConfig, inputs: Payload) -> Payload:
    return {"mask": _mask(config, _shifted_inputs(config, inputs)).to(torch.int64)}


def _shifted_inputs(config: UnitConfig, inputs: Payload) -> Payload:
    shift = inputs["shift"] if config.shift in SHIFTED else None
    return {**inputs, "data": shifted(config, inputs["data"], shift)}


def _encoder(config: UnitConfig, inputs: Payload) -> Payload:
    return {"meta": encode(inputs["mask"].to(torch.bool), config.n, config.metadata)}


def _decoder(config: UnitConfig, inputs: Payload) -> Payload:
    mask, error = decode(inputs["meta"], config.n, config.m, config.metadata)
    return {"mask": mask.to(torch.int64), "error": error.to(torch.int64).unsqueeze(-1)}


def _decompressor(config: UnitConfig, inputs: Payload) -> Payload:
    mask, error = decode(inputs["meta"], config.n, config.m, config.metadata)
    data = torch.zeros(mask.shape, dtype=torch.int64)
    legal = ~error
    data[legal] = unpack(inputs["values"][legal], mask[legal])
    return {"data": data, "last": inputs["last"], "error": error.to(torch.int64).unsqueeze(-1)}


def _pe(config: UnitConfig, inputs: Payload) -> Payload:
    """Whole reductions only: transfers after the last `last` belong to none and are dropped."""
    mask, error = decode(inputs["meta"], config.n, config.m, config.metadata)
    result: Payload = {}
    if config.weight_select == "gather":
        index = torch.zeros(len(mask), config.n, dtype=torch.int64)
        index[~error] = encode(mask[~error], config.n, "index")
        result["index"] = index
        # Groups whose weights have not come yet are in no sum.
        answered = min(len(mask), len(inputs["weights"]))
        inputs = {name: column[:answered] for name, column in inputs.items()}
        mask, error = mask[:answered], error[:answered]
        values, weights = inputs["values"], inputs["weights"]
    else:
        values, weights, wrong = _slots(config, inputs, mask)
        error = error | wrong
    sums, errors = _reduced(config, values, weights, error, inputs["last"])
    return {**result, "sum": sums.unsqueeze(-1), "error": errors.unsqueeze(-1)}


def _slots(
    config: UnitConfig, inputs: Payload, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values and weights (T, slots), and whether the weights' metadata is illegal (T,).

    The slots are those of the side that keeps fewer lanes; where the other one has dropped the
    lane, both factors are 0.
    """
    values, weights = inputs["values"], inputs["weights"]
    wrong = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
    mask = _legal(mask, config.n)
    if config.weights is None:
        return values, pack(weights, mask, config.n), wrong
    weight_mask, wrong = decode(inputs["weight_meta"], *config.weights, config.metadata)
    weight_mask = _legal(weight_mask, config.weights[0])
    both = mask & weight_mask
    slots = min((mask, config.n), (weight_mask, config.weights[0]), key=lambda side: side[1])
    values, weights = (
        pack(torch.where(both, unpack(packed, own), 0), *slots)
        for packed, own in ((values, mask), (weights, weight_mask))
    )
    return values, weights, wrong


def _legal(mask: torch.Tensor, n: int) -> torch.Tensor:
    """An illegal code has an empty mask; which lanes are taken then does not matter."""
    lanes = torch.arange(mask.shape[-1], device=mask.device) < n
    return torch.where(mask.any(-1, keepdim=True), mask, lanes)


def _tile(config: UnitConfig, inputs: Payload) -> Payload:
    """Whole reductions only, of whole steps; a row without a pattern that exists is illegal."""
    inputs = whole_steps(inputs)
    rows = _shifted_inputs(config, to_rows(config, inputs))
    data = rows["data"]
    mask = torch.ones_like(data, dtype=torch.bool) if config.is_dense else _mask(config, rows)
    wrong, mask = ~mask.any(-1), _legal(mask, config.n)
    values = pack(data, mask, config.n)
    steps = (-1, config.rows)
    factors = meet(
        values.unflatten(0, steps),
        inputs["weights"].unflatten(-1, (config.cols, config.m)),
        mask.unflatten(0, steps),
    )
    error = wrong.unflatten(0, steps).unsqueeze(-1).expand(-1, -1, config.cols)
    sums, errors = _reduced(config, *factors, error, inputs["last"])
    return {"sum": sums.flatten(1), "error": errors[..., 0]}


def _reduced(
    config: UnitConfig,
    values: torch.Tensor,
    weights: torch.Tensor,
    error: torch.Tensor,
    last: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of the sums of whole reductions, and their errors: int64 (reductions, ...).

    Parameters
    ----------
    config
        What has the accumulators.
    values, weights
        Codes (T, ..., slots).
    error
        bool (T, ...), whether a group is illegal; not looked at without the check.
    last
        Ends of the reductions, T elements.
    """
    if not config.check:
        error = torch.zeros_like(error)
    pes = error.shape[1:]
    sums = torch.zeros(reduction_count(last), *pes, dtype=torch.int64, device=values.device)
    errors = torch.zeros_like(sums)
    add_up = _integer_sums if config.format.kind == "int" else _float_sums
    for chosen, groups in equal_reductions(last):
        of_pes = (
            codes[groups].movedim(1, len(pes) + 1).flatten(0, len(pes))
            for codes in (values, weights, error)
        )
        sums[chosen] = add_up(config, *of_pes).reshape(-1, *pes)
        errors[chosen] = error[groups].any(1).to(torch.int64)
    return sums, errors


def _integer_sums(
    config: UnitConfig, values: torch.Tensor, weights: torch.Tensor, error: torch.Tensor
) -> torch.Tensor:
    """Codes of the sums of reductions (R,); the arguments are (R, groups, ...)."""
    dots = slot_dot_product(
        signed(values, config.format.width), signed(weights, config.weight_format.width)
    )
    total, _ = accumulate(dots, error, acc_width=config.acc_width, overflow=config.overflow)
    return total & ((1 << config.acc_width) - 1) if config.acc_width < 64 else total


def _float_sums(
    config: UnitConfig, values: torch.Tensor, weights: torch.Tensor, error: torch.Tensor
) -> torch.Tensor:
    """Codes of the sums of reductions (R,); the arguments are (R, groups, ...)."""
    return float_dot_product(
        values,
        weights,
        error,
        formats=(config.format, config.weight_format),
        bits=config.resolved_align_bits,
    )


def _statistics(config: UnitConfig, inputs: Payload) -> Payload:
    return token_statistics(config, inputs["data"], inputs["mask"], inputs["last"])


def _scale_memory(config: UnitConfig, inputs: Payload) -> Payload:
    scale, last = replay_tables(inputs["scale"], inputs["last"], inputs["tokens"], config.depth)
    return {"scale": scale, "last": last}


def _correction(config: UnitConfig, inputs: Payload) -> Payload:
    ratio, mean = token_correction(
        config,
        total=inputs["sum"],
        squares=inputs["squares"],
        kept_total=inputs["kept_sum"],
        kept_squares=inputs["kept_squares"],
        features=inputs["features"],
    )
    return {"ratio": ratio, "mean": mean}


def _epilogue(config: UnitConfig, inputs: Payload) -> Payload:
    result = epilogue(
        config,
        total=inputs["sum"],
        ratio=inputs["ratio"],
        gain=inputs["gain"],
        shift=inputs["shift"],
        row_sum=inputs["row_sum"],
        bias=inputs["bias"],
    )
    return {"result": result, "last": inputs["last"], "error": inputs["error"]}


def _packed(config: UnitConfig) -> PackedFormat:
    return PackedFormat(
        n=config.n, m=config.m, dtype=config.dtype, metadata=config.metadata, layout=config.layout
    )


def _packer(config: UnitConfig, inputs: Payload) -> Payload:
    streams = pack_words(
        inputs["values"], inputs["meta"], inputs["last"], _packed(config), config.word
    )
    columns = [column for words in streams for column in words]
    return dict(zip([*_WORDS, *_META_WORDS], columns, strict=False))


def _unpacker(config: UnitConfig, inputs: Payload) -> Payload:
    streams = [
        (inputs[data], inputs[counts], inputs[last])
        for data, counts, last in (_WORDS, _META_WORDS)
        if data in inputs
    ]
    values, fields, last = unpack_words(streams, _packed(config))
    return {"values": values, "meta": fields, "last": last}


#: Columns of a stream of words, and of the second one.
_WORDS = ("data", "bytes", "last")
_META_WORDS = ("meta_data", "meta_bytes", "meta_last")

_MODELS: dict[str, Callable[[UnitConfig, Payload], Payload]] = {
    "sparsifier": _sparsifier,
    "selector": _selector,
    "encoder": _encoder,
    "decoder": _decoder,
    "decompressor": _decompressor,
    "packer": _packer,
    "unpacker": _unpacker,
    "pe": _pe,
    "statistics": _statistics,
    "scale_memory": _scale_memory,
    "correction": _correction,
    "epilogue": _epilogue,
    "tile": _tile,
}


def unit_model(config: UnitConfig) -> Callable[[Payload], Payload]:
    """The function of a unit on whole streams: input payload to output payload.

    A PE or tile starts from reset and gives one transfer a reduction, statistics one a token, a
    packer a word and an unpacker a group for so many bits, a scale memory each word as often as its
    table has tokens; all other units one a transfer.  Of two packed streams the columns of the
    second one are called ``meta_...``; two streams may have different lengths.
    """
    model = _MODELS[config.unit]
    return lambda inputs: model(config, inputs)
