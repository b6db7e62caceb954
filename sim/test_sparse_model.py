"""What a sparse language model keeps is what the emitted hardware keeps, bit for bit.

The default model runs with ``exact=hw``; the inputs of linears in three of its layers, with the
real scales and shifts, go through the emitted sparsifier, and what comes out is compared with what
the linears multiplied.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import torch

from hw.ports import input_streams, output_streams
from sim.captured import LAYERS
from sim.runner import BenchResult
from sim.words import payload_words
from sw.activations import DTYPES
from sw.calibrate import calibrate
from sw.codes import codes_of
from sw.criteria import sequence_scales
from sw.groups import to_groups
from sw.method import Method
from sw.model import LanguageModel, ModelUnavailable, default_model_file, load_model
from sw.quantize import to_codes
from sw.selectors import scale_codes
from sw.sparse_linear import Sparse, SparseLinear
from sw.sparse_model import sparsify
from sw.text import Text, load_text
from sw.windows import read_windows

pytestmark = pytest.mark.slow

TOKENS = 3

#: In each of the layers; o and down have inputs of their own, gate shares its input with up.
LINEARS = ("self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")

METHODS = (
    "8:16,exact=hw,score-bits=9",
    "8:16,exact=hw,criterion=amber",
    "2:4,exact=hw,criterion=clact,scale-format=bf16",
    "4:8,exact=hw,criterion=weight-norm,shift=d-pts-mean,scale-format=pow2",
    "8:16,exact=hw,criterion=var-weight,shift=s-pts-channel,dtype=fp16,score-bits=16",
    "16:32,exact=hw,criterion=amber-code,dtype=int8",
)


@pytest.fixture(scope="module")
def language_model() -> LanguageModel:
    try:
        default_model_file()
    except ModelUnavailable as error:
        pytest.skip(f"the language model cannot be had: {error}")
    return load_model()


@pytest.fixture(scope="module")
def text() -> Text:
    return load_text()


@torch.no_grad()
def seen(
    language_model: LanguageModel, text: Text, method: Method
) -> Iterator[tuple[SparseLinear, torch.Tensor]]:
    """The linears with the inputs (tokens, C) that they had when the model read a text."""
    constants = None
    every = range(language_model.model.config.num_hidden_layers)
    method = replace(method, skip_layers=tuple(set(every) - set(LAYERS)))
    if method.shift.startswith("s-pts"):
        budget: dict[str, Any] = {"window": 32, "windows": 1, "progress": False}
        constants, _ = calibrate(language_model, text, [method], **budget)
    model = language_model.model
    (ids,) = read_windows(language_model, text, (0, TOKENS), TOKENS)
    inputs: dict[str, torch.Tensor] = {}
    with sparsify(model, method, constants, progress=False) as sparse, ExitStack() as hooks:
        paths = [f"model.layers.{layer}.{name}" for layer in LAYERS for name in LINEARS]
        linears = {path: sparse.linear(path) for path in paths}
        for path, linear in linears.items():

            def keep(_: Any, arguments: tuple[torch.Tensor], path: str = path) -> None:
                inputs[path] = arguments[0]

            hooks.callback(linear.register_forward_pre_hook(keep).remove)
        model(ids)
        for path, linear in linears.items():
            yield linear, inputs[path]


def sparse_input(linear: SparseLinear, x: torch.Tensor) -> Sparse:
    """What the linear multiplies with its weights."""
    roles = {"scale", "shift"} & linear.constants.keys()
    constants = {role: linear.constants[role] for role in roles}
    assert linear.sparsifier is not None
    return linear.sparsifier(x, **constants)


def dense_groups(linear: SparseLinear, x: torch.Tensor, sparse: Sparse) -> dict[str, torch.Tensor]:
    """The payload of a sparsifier: activations, scales and shifts by their definitions."""
    assert linear.sparsifier is not None
    method = linear.sparsifier.method
    config = method.unit_config()
    payload = {"data": to_codes(x, config.dtype)}
    if config.scale is not None:
        scale = linear.constants.get("scale")
        if scale is None:
            scale = sequence_scales(x.to(DTYPES[config.dtype]))
        payload["scale"] = scale_codes(scale, config.scale).expand(x.shape)
    shift = linear.constants.get("shift") if sparse.eta is None else sparse.eta
    if shift is not None:
        codes = codes_of(shift.to(DTYPES[config.dtype]), config.dtype)
        payload["shift"] = codes.expand(x.shape)
    groups = {name: to_groups(codes, config.m).flatten(0, -2) for name, codes in payload.items()}
    if config.shift == "token":
        groups["shift"] = groups["shift"][:, :1]
    last = torch.zeros(x.shape[0] * x.shape[1], x.shape[-1] // config.m, dtype=torch.int64)
    last[:, -1] = 1
    groups["last"] = last.reshape(-1, 1)
    return groups


def kept_groups(method: Method, x: torch.Tensor, sparse: Sparse) -> dict[str, torch.Tensor]:
    """What a sparsifier gives then: the kept values, and the mask as a bitmap."""
    config = method.unit_config()
    source = sparse.d if config.dtype in DTYPES else x
    codes = to_groups(to_codes(source, config.dtype), config.m).flatten(0, -2)
    mask = to_groups(sparse.mask, config.m).flatten(0, -2).bool()
    assert mask.sum(-1).unique().tolist() == [config.n]
    return {"values": codes[mask].reshape(-1, config.n), "meta": mask.to(torch.int64)}


def payloads(
    language_model: LanguageModel, text: Text, method: Method
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What goes into a sparsifier and what comes out, of all linears one after the other."""
    parts: tuple[list[dict[str, torch.Tensor]], ...] = ([], [])
    for linear, x in seen(language_model, text, method):
        sparse = sparse_input(linear, x)
        dense = dense_groups(linear, x, sparse)
        parts[0].append(dense)
        parts[1].append({**kept_groups(method, x, sparse), "last": dense["last"]})
    given, kept = (
        {name: torch.cat([part[name] for part in side]) for name in side[0]} for side in parts
    )
    return given, kept


@pytest.mark.parametrize("text_of_method", METHODS)
def test_the_model_keeps_what_the_hardware_keeps(
    text_of_method: str,
    language_model: LanguageModel,
    text: Text,
    bench: Callable[..., BenchResult],
) -> None:
    method = Method.parse(text_of_method)
    dense, kept = payloads(language_model, text, method)
    config = replace(method.unit_config(), unit="sparsifier")
    # As many groups as the layers have.
    assert len(dense["data"]) == TOKENS * len(LAYERS) * (2 * 576 + 1536) // config.m
    given = payload_words(dense, input_streams(config)["i"])
    expected = payload_words(kept, output_streams(config)["o"])
    result = bench(config, given={"i": given}, tests="without_stalls")
    assert result.outputs == {"without_stalls": {"o": expected}}


def test_other_scales_keep_other_lanes(
    language_model: LanguageModel, text: Text, bench: Callable[..., BenchResult]
) -> None:
    """The bench alone, whose model reads the same scales, has nothing against it."""
    method = Method.parse(METHODS[1])
    dense, kept = payloads(language_model, text, method)
    dense["scale"] = dense["scale"].roll(1, -1)
    config = replace(method.unit_config(), unit="sparsifier")
    given = payload_words(dense, input_streams(config)["i"])[-100:]
    expected = payload_words(kept, output_streams(config)["o"])[-100:]
    result = bench(config, given={"i": given}, tests="without_stalls")
    outputs = result.outputs["without_stalls"]["o"]
    assert [a == b for a, b in zip(outputs, expected, strict=True)].count(False) >= 20
