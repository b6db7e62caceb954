import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from sw.constants import (
    Constant,
    Constants,
    ConstantsError,
    check_shape,
    constants_of,
    from_weights,
    merge,
    read_constants,
)
from sw.criteria import amber_scales
from sw.method import Method
from sw.mitigation import low_rank_factors

UP = "model.layers.0.mlp.up_proj"
DOWN = "model.layers.0.mlp.down_proj"


def example() -> Constants:
    return Constants(
        {
            UP: {"shift.s-pts": torch.tensor(0.5), "gain@2:4,ls": torch.ones(3)},
            DOWN: {"shift.s-pts": torch.tensor(-0.5)},
        },
        {"model": "tiny"},
    )


# What a method needs


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("dense", []),
        ("2:4,criterion=clact,shift=d-pts-mean,var,scaling", []),
        ("2:4,exact=hw", []),
        ("2:4,criterion=amber", [("scale", "scale.amber", "weights")]),
        ("2:4,criterion=var-weight", [("scale", "scale.var-weight", "weights")]),
        ("2:4,shift=s-pts", [("shift", "shift.s-pts", "tokens")]),
        ("2:4,shift=s-pts-channel", [("shift", "shift.s-pts-channel", "tokens")]),
        ("2:4,shift=l-pts", [("shift", "shift@2:4,shift=l-pts", "training")]),
        ("2:4,shift=l-pts-bias", [("bias", "bias@2:4,shift=l-pts-bias", "training")]),
        ("2:4,ls", [("gain", "gain@2:4,ls", "training"), ("bias", "bias@2:4,ls", "training")]),
        ("2:4,ls=scale", [("gain", "gain@2:4,ls=scale", "training")]),
        (
            "2:4,low-rank=8",
            [("left", "left.svd-8", "weights"), ("right", "right.svd-8", "weights")],
        ),
        (
            "2:4,low-rank=8:trained,phase=decode",
            [
                ("left", "left@2:4,low-rank=8:trained", "training"),
                ("right", "right@2:4,low-rank=8:trained", "training"),
            ],
        ),
        ("2:4,scaling=static", [("input_max", "input_max", "tokens")]),
        ("2:4,weights=wt", []),
        ("2:4,weights=wanda", [("input_norm", "input_norm", "tokens")]),
    ],
)
def test_needs(text: str, needed: list[tuple[str, str, str]]) -> None:
    found = constants_of(Method.parse(text))
    assert [(one.role, one.name, one.source) for one in found] == needed


def test_from_weights() -> None:
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    values = from_weights(Method.parse("2:4,criterion=amber,low-rank=4,shift=s-pts"), weight)
    assert list(values) == ["scale.amber", "left.svd-4", "right.svd-4"]
    assert torch.equal(values["scale.amber"], amber_scales(weight))
    left, right = low_rank_factors(weight, 4)
    assert torch.equal(values["left.svd-4"], left)
    assert torch.equal(values["right.svd-4"], right)
    assert from_weights(Method.parse("2:4,low-rank=4:trained"), weight) == {}


@pytest.mark.parametrize(
    ("text", "role", "shape"),
    [
        ("2:4,criterion=amber", "scale", (8,)),
        ("2:4,shift=s-pts", "shift", ()),
        ("2:4,shift=s-pts-channel", "shift", (8,)),
        ("2:4,shift=l-pts", "shift", (8,)),
        ("2:4,ls", "gain", (6,)),
        ("2:4,ls", "bias", (6,)),
        ("2:4,low-rank=4", "left", (6, 4)),
        ("2:4,low-rank=4", "right", (4, 8)),
        # Singular values end at 6; what is trained has the rank asked for.
        ("2:4,low-rank=7", "left", (6, 6)),
        ("2:4,low-rank=7:trained", "left", (6, 7)),
        ("2:4,scaling=static", "input_max", (8,)),
        ("2:4,weights=wanda", "input_norm", (8,)),
    ],
)
def test_shapes(text: str, role: str, shape: tuple[int, ...]) -> None:
    method = Method.parse(text)
    (constant,) = (one for one in constants_of(method) if one.role == role)
    check_shape("it", method, constant, torch.zeros(shape), torch.Size((6, 8)))
    with pytest.raises(ConstantsError) as caught:
        check_shape("it", method, constant, torch.zeros(*shape, 2), torch.Size((6, 8)))
    assert str(caught.value) == f"it must be of shape {shape}, not {(*shape, 2)}"


# Files


def test_file_and_back(tmp_path: Path) -> None:
    constants = example()
    file = tmp_path / "folder" / "c.safetensors"
    constants.write(file)
    got = read_constants(file)
    assert got.metadata == {"model": "tiny"}
    assert got.tensors.keys() == constants.tensors.keys()
    for linear, named in constants.tensors.items():
        assert got.tensors[linear].keys() == named.keys()
        assert all(torch.equal(got.tensors[linear][name], named[name]) for name in named)
    assert got.to_bytes() == constants.to_bytes() == file.read_bytes()
    # Anyone can read it.
    flat = safetensors.torch.load_file(file)
    assert sorted(flat) == [f"{DOWN}/shift.s-pts", f"{UP}/gain@2:4,ls", f"{UP}/shift.s-pts"]


def test_get() -> None:
    constants = example()
    shift = Constant("shift", "shift.s-pts", "tokens")
    found = constants.get(DOWN, shift)
    assert found is not None
    assert float(found) == -0.5
    assert constants.get("lm_head", shift) is None
    assert constants.get(UP, Constant("scale", "scale.amber", "weights")) is None


def write(path: Path, tensors: dict[str, torch.Tensor], **metadata: str) -> None:
    usual = {"format": "nmsparse constants", "format_version": "1"}
    safetensors.torch.save_file(tensors, path, usual | metadata)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        (
            {"a/b": torch.ones(1)},
            {"format": "nmsparse activations"},
            "must have the format 'nmsparse constants', not 'nmsparse activations'",
        ),
        ({"a/b": torch.ones(1)}, {"format_version": "2"}, "must have format version 1, not '2'"),
        ({"ab": torch.ones(1)}, {}, "must name tensors LINEAR/CONSTANT, not 'ab'"),
        ({"/ab": torch.ones(1)}, {}, "must name tensors LINEAR/CONSTANT, not '/ab'"),
    ],
)
def test_wrong_file(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], message: str
) -> None:
    path = tmp_path / "c.safetensors"
    write(path, tensors, **metadata)
    with pytest.raises(ConstantsError) as caught:
        read_constants(path)
    assert str(caught.value) == f"constants file {str(path)!r} {message}"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2).half(), "b of a must be fp32, not float16"),
        (
            torch.tensor([1, math.nan, math.inf]),
            "b of a must be finite, not NaN or infinite 2 times",
        ),
    ],
)
def test_wrong_tensor(tmp_path: Path, tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(ConstantsError) as caught:
        Constants({"a": {"b": tensor}}, {})
    assert str(caught.value) == message
    path = tmp_path / "c.safetensors"
    write(path, {"a/b": tensor})
    with pytest.raises(ConstantsError) as caught:
        read_constants(path)
    assert str(caught.value) == f"constants file {str(path)!r}: {message}"


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with pytest.raises(ConstantsError) as caught:
        read_constants(path)
    assert str(caught.value) == (
        f"constants file {str(path)!r} must be a readable file: No such file or directory"
    )


def test_merge() -> None:
    other = Constants(
        {UP: {"shift.s-pts": torch.tensor(0.5), "scale.amber": torch.ones(4)}}, {"model": "b"}
    )
    merged = merge([example(), other])
    assert merged.metadata == {"model": "tiny"}
    names: dict[str, Any] = {linear: sorted(named) for linear, named in merged.tensors.items()}
    assert names == {UP: ["gain@2:4,ls", "scale.amber", "shift.s-pts"], DOWN: ["shift.s-pts"]}
    assert merge([]).tensors == {}
    wrong = Constants({UP: {"shift.s-pts": torch.tensor(0.75)}}, {})
    with pytest.raises(ConstantsError) as caught:
        merge([example(), wrong])
    assert str(caught.value) == (
        f"constants must agree where they meet, not differ in shift.s-pts of {UP}"
    )
