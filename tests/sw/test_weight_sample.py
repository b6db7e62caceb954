import json
import shlex
from pathlib import Path

import pytest
import torch

from sw.activations import read_activations
from sw.errors import InputError
from sw.linears import find_linears
from sw.model import LanguageModel
from sw.sample import SAMPLE, WEIGHTS
from sw.weight_sample import main, read_weight_sample, sample_weights


def test_rows_are_spread_over_the_outputs(tiny: LanguageModel) -> None:
    sample = sample_weights(tiny, projections=["down", "q"], layers=[1], rows=3)
    linears = find_linears(tiny.model)
    assert list(sample.tensors) == ["layers.1.q_proj", "layers.1.down_proj"]
    for name, projection in (("layers.1.q_proj", "q"), ("layers.1.down_proj", "down")):
        weight = linears[1, projection].get_parameter("weight")
        # 32 outputs: floor(i * 32 / 3).
        expected = torch.stack([weight[output] for output in (0, 10, 21)]).to(torch.bfloat16)
        assert torch.equal(sample.tensors[name], expected)
    metadata = sample.metadata
    assert metadata["layers"] == "1"
    assert metadata["projections"] == "q,down"
    assert metadata["model"] == tiny.name
    assert metadata["command"] == (
        f"python -m sw.weight_sample --model {tiny.name} --projections q,down --layers 1 --rows 3"
    )


def test_all_rows(tiny: LanguageModel) -> None:
    sample = sample_weights(tiny, projections=["o"], layers="all", rows=32)
    for layer in (0, 1):
        weight = find_linears(tiny.model)[layer, "o"].get_parameter("weight")
        assert torch.equal(sample.tensors[f"layers.{layer}.o_proj"], weight.to(torch.bfloat16))


@pytest.mark.parametrize("rows", [0, 33])
def test_too_many_rows(rows: int, tiny: LanguageModel) -> None:
    with pytest.raises(InputError) as error:
        sample_weights(tiny, projections=["q"], layers=[0], rows=rows)
    assert str(error.value) == (
        f"rows must be between 1 and the outputs of layers.0.q_proj, 32, not {rows}"
    )


def test_command_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    arguments = ["--model", str(tiny_folder), "--rows", "2", "--layers", "0", "-o", str(path)]
    assert main(arguments) == 0
    first = path.read_bytes()
    # What is there may be written again, and is the same.
    assert main(arguments) == 0
    assert path.read_bytes() == first
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "layers.0.q_proj: 2 rows of 32 weights",
        "layers.0.o_proj: 2 rows of 32 weights",
        "layers.0.gate_proj: 2 rows of 32 weights",
        "layers.0.down_proj: 2 rows of 48 weights",
        f"wrote {path} ({len(first):,} bytes)",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "0"], "rows must be at least 1, not 0"),
        (
            ["--projections", "q,z"],
            "projections must be of q, k, v, o, gate, up, down, not 'z'",
        ),
        (["--layers", "-"], "layers must be like 0,14,29 or 0-4, or all or spread, not '-'"),
        (
            ["-o", "{folder}/other"],
            "output must be new or replace a sample of weights, not '{folder}/other', which is "
            "something else",
        ),
        (["-o", "{folder}"], "output must be a file that can be written, not '{folder}'"),
    ],
)
def test_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_text("something else")
    with pytest.raises(SystemExit) as stop:
        main([argument.format(folder=tmp_path) for argument in arguments])
    assert stop.value.code == 2
    expected = message.format(folder=tmp_path)
    assert capsys.readouterr().err == f"python -m sw.weight_sample: error: {expected}\n"
    assert (tmp_path / "other").read_text() == "something else"


def test_other_files() -> None:
    with pytest.raises(InputError) as error:
        read_weight_sample(SAMPLE)
    assert str(error.value) == (
        f"weights file {str(SAMPLE)!r} must have format 'nmsparse weights' and version '1',"
        " not 'nmsparse activations' and '1'"
    )


# The sample in the package


def test_sample_has_weights_of_all_its_activations() -> None:
    assert WEIGHTS.stat().st_size < 200_000
    weights, activations = read_weight_sample(WEIGHTS), read_activations(SAMPLE)
    assert set(weights.tensors) == set(activations.tensors)
    for name, x in activations.tensors.items():
        assert weights.tensors[name].shape == (int(weights.metadata["rows"]), x.shape[1])
        assert weights.tensors[name].dtype == torch.bfloat16
        assert weights.tensors[name].isfinite().all()
        assert weights.tensors[name].count_nonzero() > 0.9 * weights.tensors[name].numel()
    assert weights.metadata["model_sha256"] == activations.metadata["model_sha256"]


def test_sample_command_is_in_its_readme() -> None:
    command = read_weight_sample(WEIGHTS).metadata["command"]
    readme = WEIGHTS.with_name("README.md").read_text()
    joined = " ".join(readme.replace("\\\n", " ").split())
    assert f"{command} -o sw/sample/weights.safetensors" in joined
    assert shlex.split(command)[:3] == ["python", "-m", "sw.weight_sample"]


def test_sample_is_in_the_notice() -> None:
    assert "weights.safetensors" in WEIGHTS.with_name("NOTICE").read_text()


def test_sample_header_is_sorted() -> None:
    content = WEIGHTS.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header) == sorted(header)


@pytest.mark.slow
def test_sample_can_be_made_again(default_model: LanguageModel) -> None:
    sample = read_weight_sample(WEIGHTS)
    again = sample_weights(
        default_model,
        projections=sample.metadata["projections"].split(","),
        layers=list(map(int, sample.metadata["layers"].split(","))),
        rows=int(sample.metadata["rows"]),
    )
    assert again.metadata["command"] == sample.metadata["command"]
    assert again.metadata["model_sha256"] == sample.metadata["model_sha256"]
    for name, weights in sample.tensors.items():
        assert torch.equal(again.tensors[name], weights)
