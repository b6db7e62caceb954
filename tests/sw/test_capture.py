import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sw import model_text
from sw.activations import Activations, read_activations
from sw.capture import capture, main
from sw.errors import InputError
from sw.linears import PROJECTIONS, find_linears
from sw.model import LanguageModel, ModelUnavailable
from sw.sample import SAMPLE
from sw.text import Text, load_text
from tests.sw.command import Run, runner
from tests.sw.tiny_model import CONTEXT, FEED_FORWARD, HIDDEN, WORDS, words

ROOT = Path(__file__).parents[2]


def take(model: LanguageModel, text: Text, **options: Any) -> dict[str, torch.Tensor]:
    """Everything in fp32, unless told otherwise."""
    defaults = {"projections": PROJECTIONS, "layers": "all", "tokens": (0, 20), "dtype": "fp32"}
    return capture(model, text, progress=False, **(defaults | options)).tensors


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line on the tiny model and a text of 100 words; later options win."""
    text = tmp_path / "words.txt"
    text.write_text(words(100))

    options = ["--model", str(tiny_folder), "--text", str(text), "--tokens", "0:20"]
    return runner(main, [*options, "-o", str(tmp_path / "out" / "a.safetensors")], capsys)


# What is captured


def test_inputs_follow_from_each_other(tiny: LanguageModel, tiny_text: Text) -> None:
    got = take(tiny, tiny_text, window=20)
    decoder = tiny.model.model
    token_ids = torch.tensor([[(7 * t + 3) % WORDS for t in range(20)]])
    with torch.no_grad():
        hidden = decoder(token_ids, output_hidden_states=True).hidden_states
        for number, layer in enumerate(decoder.layers):
            x = {name: got[f"layers.{number}.{name}_proj"] for name in PROJECTIONS}
            assert torch.equal(x["q"], layer.input_layernorm(hidden[number][0]))
            assert torch.equal(x["k"], x["q"])
            assert torch.equal(x["v"], x["q"])
            middle = hidden[number][0] + layer.self_attn.o_proj(x["o"])
            torch.testing.assert_close(x["gate"], layer.post_attention_layernorm(middle))
            assert torch.equal(x["up"], x["gate"])
            gated = torch.nn.functional.silu(layer.mlp.gate_proj(x["gate"]))
            torch.testing.assert_close(x["down"], gated * layer.mlp.up_proj(x["up"]))


def test_input_is_what_the_linear_got(tiny: LanguageModel, tiny_text: Text) -> None:
    inputs: dict[str, torch.Tensor] = {}
    handles = [
        module.register_forward_hook(
            lambda _module, arguments, _output, name=f"layers.{layer}.{projection}_proj": (
                inputs.update({name: arguments[0][0]})
            )
        )
        for (layer, projection), module in find_linears(tiny.model).items()
    ]
    with torch.no_grad():
        tiny.model(torch.tensor([[(7 * t + 3) % WORDS for t in range(20)]]))
    for handle in handles:
        handle.remove()
    got = take(tiny, tiny_text, window=20)
    assert got.keys() == inputs.keys()
    assert all(torch.equal(got[name], inputs[name]) for name in got)


def test_shapes_and_order(tiny: LanguageModel, tiny_text: Text) -> None:
    got = take(tiny, tiny_text)
    assert [(name, tuple(x.shape)) for name, x in got.items()] == [
        (f"layers.{layer}.{name}_proj", (20, FEED_FORWARD if name == "down" else HIDDEN))
        for layer in (0, 1)
        for name in PROJECTIONS
    ]


def test_defaults_are_the_distinct_inputs_in_bf16(tiny: LanguageModel, tiny_text: Text) -> None:
    activations = capture(tiny, tiny_text, tokens=(0, 20), progress=False)
    assert list(activations.tensors) == [
        f"layers.{layer}.{name}_proj" for layer in (0, 1) for name in ("q", "o", "gate", "down")
    ]
    assert activations.dtype == "bf16"
    exact = take(tiny, tiny_text)
    for name, x in activations.tensors.items():
        assert torch.equal(x, exact[name].bfloat16())


@pytest.mark.parametrize(
    ("start", "stop", "window"), [(0, 20, 8), (5, 21, 8), (3, 4, 8), (0, 9, 1)]
)
def test_windows_know_nothing_of_each_other(
    tiny: LanguageModel, tiny_text: Text, start: int, stop: int, window: int
) -> None:
    got = take(tiny, tiny_text, tokens=(start, stop), window=window)
    for begin in range(start, stop, window):
        end = min(begin + window, stop)
        alone = take(tiny, tiny_text, tokens=(begin, end), window=end - begin)
        for name, x in alone.items():
            assert torch.equal(got[name][begin - start : end - start], x)


def test_window_matters(tiny: LanguageModel, tiny_text: Text) -> None:
    # The guard of the test above: attention sees what is before it in its window.
    wide, narrow = (take(tiny, tiny_text, window=window) for window in (20, 8))
    assert not torch.equal(wide["layers.1.q_proj"][8:], narrow["layers.1.q_proj"][8:])


@pytest.mark.parametrize(("stop", "window"), [(20, 8), (17, 8), (20, 20)])
def test_token0_excluded(tiny: LanguageModel, tiny_text: Text, stop: int, window: int) -> None:
    included = take(tiny, tiny_text, tokens=(0, stop), window=window)
    excluded = take(tiny, tiny_text, tokens=(0, stop), window=window, token0=False)
    rows = [row for row in range(stop) if row % window]
    assert all(torch.equal(excluded[name], x[rows]) for name, x in included.items())


def test_early_stop_changes_nothing(tiny: LanguageModel, tiny_text: Text) -> None:
    every = take(tiny, tiny_text)
    for layer, projection in ((0, "q"), (0, "down"), (1, "o")):
        alone = take(tiny, tiny_text, layers=[layer], projections=[projection])
        (name,) = alone
        assert torch.equal(alone[name], every[name])


def test_no_hook_stays(tiny: LanguageModel, tiny_text: Text) -> None:
    take(tiny, tiny_text)
    assert not any(module._forward_pre_hooks for module in tiny.model.modules())


def test_captured_tensors_can_be_trained_on(tiny: LanguageModel, tiny_text: Text) -> None:
    x = take(tiny, tiny_text)["layers.0.q_proj"]
    weight = torch.ones(HIDDEN, requires_grad=True)
    (x @ weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [("all", "0,1"), ("spread", "0,1"), ([1], "1"), ([1, 0, 1], "0,1")],
)
def test_layers(
    tiny: LanguageModel, tiny_text: Text, layers: str | list[int], numbers: str
) -> None:
    activations = capture(tiny, tiny_text, layers=layers, tokens=(0, 2), progress=False)
    assert activations.metadata["layers"] == numbers


def test_overflow_of_fp16(tiny: LanguageModel, tiny_text: Text) -> None:
    norm = tiny.model.model.layers[1].input_layernorm
    before = norm.weight.clone()
    try:
        norm.weight.mul_(1e6)
        with pytest.raises(InputError) as caught:
            take(tiny, tiny_text, layers=[1], projections=["q"], dtype="fp16")
        take(tiny, tiny_text, layers=[1], projections=["q"], dtype="bf16")
    finally:
        norm.weight.copy_(before)
    assert re.fullmatch(
        r"dtype must reach the largest magnitude of layers\.1\.q_proj, \S+e\+06, not 'fp16'",
        str(caught.value),
    )


# The command line


def test_file_and_metadata(run: Run, tmp_path: Path, tiny: LanguageModel, tiny_text: Text) -> None:
    status, out, err = run(
        "--window", "8", "--token0", "exclude", "--dtype", "fp32", "--layers", "1",
        "--projections", "down,q",
    )  # fmt: skip
    assert status == 0
    file = tmp_path / "out" / "a.safetensors"
    activations = read_activations(file)
    expected = take(tiny, tiny_text, window=8, token0=False, layers=[1], projections=["q", "down"])
    assert list(activations.tensors) == ["layers.1.q_proj", "layers.1.down_proj"]
    assert all(torch.equal(activations.tensors[name], x) for name, x in expected.items())
    metadata = activations.metadata
    versions = {name: metadata.pop(name) for name in ("torch", "transformers", "nmsparse")}
    assert versions["torch"] == torch.__version__
    assert metadata == {
        "format": "nmsparse activations",
        "format_version": "1",
        "model": "tiny",
        "model_source": "folder",
        "model_sha256": tiny.sha256,
        "architecture": "LlamaForCausalLM",
        "text": "words.txt",
        "text_sha256": tiny_text.sha256,
        "tokenizer": f"{type(tiny.tokenizer).__name__}, 66 entries, no special tokens added",
        "tokens": "0:20",
        "window": "8",
        "token0": "exclude",
        "layers": "1",
        "projections": "q,down",
        "dtype": "fp32",
        "command": "python -m sw.capture --model tiny --text words.txt --projections q,down"
        " --layers 1 --tokens 0:20 --window 8 --token0 exclude --dtype fp32",
    }
    assert "layers.1.down_proj" in out
    assert "the first token of each window is left out" in out
    assert out.endswith(f"wrote {file} ({file.stat().st_size:,} bytes)\n")
    assert err == ""  # progress of so short a run stays out of logs


def test_same_command_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "out" / "a.safetensors"
    assert run()[0] == 0
    first = file.read_bytes()
    assert run()[0] == 0
    assert file.read_bytes() == first


def test_no_machine_path_in_the_file(run: Run, tmp_path: Path, tiny_folder: Path) -> None:
    run()
    content = (tmp_path / "out" / "a.safetensors").read_bytes()
    for path in (tmp_path, tiny_folder.parent, ROOT):
        assert str(path).encode() not in content


@pytest.mark.parametrize(
    ("argument", "layers"),
    [
        ("0,1", "0,1"),
        ("0-1", "0,1"),
        ("1", "1"),
        ("all", "0,1"),
        ("spread", "0,1"),
        ("1,0-1", "0,1"),
    ],
)
def test_layers_option(run: Run, tmp_path: Path, argument: str, layers: str) -> None:
    assert run("--layers", argument)[0] == 0
    assert read_activations(tmp_path / "out" / "a.safetensors").metadata["layers"] == layers


WRONG = [
    (["--model", "/no/such/model"],
     "model must be an existing folder, an existing GGUF file or a name on the hub,"
     " not '/no/such/model'"),
    (["--projections", "q,p"], "projections must be of q, k, v, o, gate, up, down, not 'p'"),
    (["--projections", ""], "projections must be of q, k, v, o, gate, up, down, not ''"),
    (["--layers", "2"], "layers must be of 0 to 1 in this model, not 2"),
    (["--layers", "0-5"], "layers must be of 0 to 1 in this model, not 2"),
    (["--layers", "1-0"], "layers must be like 0,14,29 or 0-4, or all or spread, not '1-0'"),
    (["--layers", "-1"], "layers must be like 0,14,29 or 0-4, or all or spread, not '-1'"),
    (["--layers", "first"], "layers must be like 0,14,29 or 0-4, or all or spread, not 'first'"),
    (["--layers", ""], "layers must be like 0,14,29 or 0-4, or all or spread, not ''"),
    (["--tokens", "5:5"], "tokens must be START:STOP with 0 <= START < STOP, not '5:5'"),
    (["--tokens", "9:5"], "tokens must be START:STOP with 0 <= START < STOP, not '9:5'"),
    (["--tokens", "1:-5"], "tokens must be START:STOP with 0 <= START < STOP, not '1:-5'"),
    (["--tokens", "20"], "tokens must be START:STOP with 0 <= START < STOP, not '20'"),
    (["--tokens", "90:101"], "tokens must be within the 100 tokens of the text, not 90:101"),
    (["--window", "0"], "window must be at least 1, not 0"),
    (["--window", "x"], "argument --window: invalid int value: 'x'"),
    (["--window", "1", "--token0", "exclude"],
     "token0 must be included when no window has a second token, not excluded with window 1 and"
     " tokens 0:20"),
    (["--tokens", "4:5", "--token0", "exclude"],
     "token0 must be included when no window has a second token, not excluded with window 512 and"
     " tokens 4:5"),
    (["--token0", "maybe"], "token0 must be include or exclude, not 'maybe'"),
    (["--dtype", "int8"], "dtype must be one of bf16, fp16, fp32, not 'int8'"),
    (["--text", "/no/such/text"],
     "text must be a file that can be read, not '/no/such/text' (No such file or directory)"),
    (["--proj", "q"], "unrecognized arguments: --proj q"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_argument(
    run: Run,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert err == f"python -m sw.capture: error: {message}\n"
    assert not (tmp_path / "out").exists()


def test_window_beyond_the_context(tiny: LanguageModel) -> None:
    text = Text(words(2 * CONTEXT), "words.txt", "file")
    take(tiny, text, tokens=(0, 2 * CONTEXT), window=CONTEXT)
    # A window wider than the text's range is as narrow as the range.
    take(tiny, text, tokens=(0, CONTEXT), window=10 * CONTEXT)
    with pytest.raises(InputError) as caught:
        take(tiny, text, tokens=(0, 2 * CONTEXT), window=CONTEXT + 1)
    assert str(caught.value) == (
        f"window must be at most {CONTEXT}, the model's context, not {CONTEXT + 1}"
    )


def test_empty_text(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.touch()
    assert run("--text", str(empty)) == (
        2,
        "",
        f"python -m sw.capture: error: text must hold more than white space, not {str(empty)!r}\n",
    )


@pytest.mark.parametrize("output", ["folder", "file/a.safetensors"])
def test_output_that_cannot_be_written(run: Run, tmp_path: Path, output: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / output
    assert run("-o", str(path)) == (
        2,
        "",
        f"python -m sw.capture: error: output must be a file that can be written, not"
        f" {str(path)!r}\n",
    )


def test_output_that_fails_at_the_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Activations, _path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Activations, "write", full)
    status, _, err = run()
    assert status == 2
    assert err.splitlines()[-1] == (
        "python -m sw.capture: error: output must be a file that can be written, not"
        f" {str(tmp_path / 'out' / 'a.safetensors')!r} (No space left on device)"
    )


def test_output_that_is_something_else(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(tiny_folder / "model.safetensors", tmp_path))
    before = weights.read_bytes()
    assert run("-o", str(weights)) == (
        2,
        "",
        "python -m sw.capture: error: output must be new or replace captured activations, not"
        f" {str(weights)!r}, which is something else\n",
    )
    assert weights.read_bytes() == before


def test_model_without_such_linears(tiny: LanguageModel, tiny_text: Text) -> None:
    class Other(torch.nn.Module):
        pass

    other = LanguageModel(Other(), tiny.tokenizer, "other", "folder", None)
    with pytest.raises(InputError) as caught:
        capture(other, tiny_text, tokens=(0, 2), progress=False)
    assert str(caught.value).endswith("not Other without them")


def test_model_without_one_of_the_linears(tiny: LanguageModel, tiny_text: Text) -> None:
    class Fused(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Module()])
            self.layers[0].qkv_proj = torch.nn.Linear(1, 1)
            self.layers[0].o_proj = torch.nn.Linear(1, 1)
            self.layers[0].down_proj = torch.nn.Linear(1, 1)

    fused = LanguageModel(Fused(), tiny.tokenizer, "fused", "folder", None)
    with pytest.raises(InputError) as caught:
        capture(fused, tiny_text, tokens=(0, 2), progress=False)
    assert str(caught.value) == "projections must be of o, down in layer 0 of this model, not 'q'"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projections": []},
         "projections must name at least one of q, k, v, o, gate, up, down, not none"),
        ({"layers": []}, "layers must name at least one layer, not none"),
        ({"layers": "first"}, "layers must be numbers, all or spread, not 'first'"),
        ({"layers": [-1]}, "layers must be of 0 to 1 in this model, not -1"),
        ({"tokens": (3, 3)}, "tokens must be START:STOP with 0 <= START < STOP, not 3:3"),
        ({"dtype": "fp64"}, "dtype must be one of bf16, fp16, fp32, not 'fp64'"),
    ],
)  # fmt: skip
def test_wrong_argument_of_the_function(
    tiny: LanguageModel, tiny_text: Text, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        take(tiny, tiny_text, **options)
    assert str(caught.value) == message


def test_default_model_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def missing() -> Path:
        raise ModelUnavailable("the default language model is gone")

    monkeypatch.setattr(model_text, "default_model_file", missing)
    with pytest.raises(SystemExit) as stop:
        main(["-o", str(tmp_path / "a")])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "python -m sw.capture: error: the default language model is gone\n"
    )


def test_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sw.capture", "--dtype", "int4"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python -m sw.capture: error: dtype must be one of bf16, fp16, fp32, not 'int4'\n"
    )


def test_help_tells_of_shared_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "k and v have the same input as q, and up has the same as gate" in text
    assert "None" not in text


# The real model


@pytest.mark.slow
def test_default_model(default_model: LanguageModel) -> None:
    activations = capture(default_model, load_text(), tokens=(0, 64), progress=False)
    assert activations.metadata["layers"] == "0,14,29"
    assert "--model" not in activations.metadata["command"]
    assert "--text" not in activations.metadata["command"]
    features = {name.split(".")[2]: x.shape[1] for name, x in activations.tensors.items()}
    assert features == {"q_proj": 576, "o_proj": 576, "gate_proj": 576, "down_proj": 1536}
    # Heavy tails: a Gaussian has kurtosis 3.
    for x in activations.tensors.values():
        deviation = x.double() - x.double().mean()
        assert deviation.pow(4).mean() / deviation.square().mean().square() > 4


@pytest.mark.slow
def test_sample_can_be_made_again(default_model: LanguageModel) -> None:
    sample = read_activations(SAMPLE)
    text = load_text()
    if text.sha256 != sample.metadata["text_sha256"]:
        pytest.skip("this Python has other documentation topics than the sample's")
    start, stop = map(int, sample.metadata["tokens"].split(":"))
    again = capture(
        default_model,
        text,
        projections=sample.metadata["projections"].split(","),
        layers=list(map(int, sample.metadata["layers"].split(","))),
        tokens=(start, stop),
        window=int(sample.metadata["window"]),
        progress=False,
    )
    assert again.metadata["command"] == sample.metadata["command"]
    assert again.metadata["model_sha256"] == sample.metadata["model_sha256"]
    for name, x in sample.tensors.items():
        # Other machines split sums differently: a last bit of bf16 may flip here and there.
        assert (again.tensors[name] == x).double().mean() > 0.95
        torch.testing.assert_close(again.tensors[name], x, rtol=0.05, atol=0.01)
