from pathlib import Path
from typing import Any

import pytest
import torch

from sw import calibrate as calibrate_module
from sw.calibrate import calibrate, main
from sw.constants import Constants, constants_of, from_weights, read_constants
from sw.errors import InputError
from sw.input_statistics import NAMES, InputStatistics
from sw.method import Method
from sw.model import LanguageModel
from sw.parts import Parts
from sw.sparse_model import choose_linears, sparsify
from sw.text import Text
from sw.training import Recipe, train
from sw.windows import draw_windows
from tests.sw.command import Run, runner
from tests.sw.tiny_model import words

TOKENS = [
    "8:16,shift=s-pts",
    "8:16,shift=s-pts-channel,var",
    "8:16,scaling=static",
    "8:16,weights=wanda",
]


def take(model: LanguageModel, text: Text, *methods: str, **options: Any) -> Any:
    usual = {"tokens": (10, 90), "window": 12, "windows": 3, "progress": False}
    parsed = [Method.parse(method) for method in methods]
    return calibrate(model, text, parsed, **(usual | options))


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line on the tiny model and a text of 100 words; later options win."""
    text = tmp_path / "words.txt"
    text.write_text(words(100))

    options = ["--model", str(tiny_folder), "--text", str(text), "--tokens", "10:90"]
    options += ["--window", "12", "--windows", "3", "-o", str(tmp_path / "out" / "c")]
    return runner(main, options, capsys)


# What is computed


@pytest.mark.parametrize("token0", [True, False])
def test_statistics_are_those_of_the_dense_model(
    tiny: LanguageModel, tiny_text: Text, token0: bool
) -> None:
    constants, losses = take(tiny, tiny_text, *TOKENS, token0=token0)
    assert losses == {}
    paths = list(choose_linears(tiny.model, Method.parse("2:4")))
    assert list(constants.tensors) == paths
    expected = {path: InputStatistics(NAMES) for path in paths}

    def look(path: str) -> Any:
        return lambda _, arguments: expected[path].update(arguments[0][0, 0 if token0 else 1 :])

    hooks = [tiny.model.get_submodule(path).register_forward_pre_hook(look(path)) for path in paths]
    for window in draw_windows(tiny, tiny_text, (10, 90), 12, 3, 0):
        with torch.no_grad():
            tiny.model(window, use_cache=False)
    for hook in hooks:
        hook.remove()
    for path in paths:
        assert constants.tensors[path].keys() == set(NAMES)
        for name, value in expected[path].constants().items():
            torch.testing.assert_close(constants.tensors[path][name], value)


def test_weights(tiny: LanguageModel, tiny_text: Text) -> None:
    methods = ["8:16,criterion=amber", "4:8,criterion=amber,low-rank=4,linears=up+lm_*"]
    constants, _ = take(tiny, tiny_text, *methods)
    assert "lm_head" in constants.tensors
    for path, named in constants.tensors.items():
        weight = tiny.model.get_submodule(path).weight
        expected = from_weights(Method.parse("8:16,criterion=amber,low-rank=4"), weight)
        both = path.endswith("up_proj") or path == "lm_head"
        names = ["scale.amber", "left.svd-4", "right.svd-4"] if both else ["scale.amber"]
        assert list(named) == names
        assert all(torch.equal(named[name], expected[name]) for name in names)


def test_trained(tiny: LanguageModel, tiny_text: Text) -> None:
    text = "8:16,shift=s-pts,ls"
    recipe = Recipe(epochs=2, seed=3)
    constants, losses = take(tiny, tiny_text, text, recipe=recipe)
    windows = draw_windows(tiny, tiny_text, (10, 90), 12, 3, 3)
    shifts, _ = take(tiny, tiny_text, "8:16,shift=s-pts", recipe=recipe)
    learned, expected = train(
        tiny.model, Method.parse(text), windows, constants=shifts, recipe=recipe
    )
    assert losses == {text: expected}
    for path, named in learned.tensors.items():
        assert constants.tensors[path].keys() == {"shift.s-pts", *named}
        assert all(torch.equal(constants.tensors[path][name], named[name]) for name in named)


def test_every_method_can_be_used(tiny: LanguageModel, tiny_text: Text) -> None:
    methods = [*TOKENS, "2:4,criterion=amber,low-rank=2", "2:4,ls=scale", "4:8,shift=l-pts,var"]
    constants, losses = take(tiny, tiny_text, *methods)
    assert list(losses) == ["2:4,ls=scale", "4:8,shift=l-pts,var"]
    for text in methods:
        with sparsify(tiny.model, text, constants, progress=False) as sparse, torch.no_grad():
            tiny.model(torch.arange(9).unsqueeze(0))
            needed = {constant.role for constant in constants_of(Method.parse(text))}
            if "weights" not in text:
                own = sparse.linear(sparse.linears[0]).constants.keys() - {"weight_max"}
                assert own == needed


def test_windows_are_drawn_with_the_seed(tiny: LanguageModel, tiny_text: Text) -> None:
    runs = [
        take(tiny, tiny_text, "2:4,shift=s-pts", recipe=Recipe(seed=seed))[0].tensors
        for seed in (0, 0, 1)
    ]
    path = "model.layers.1.mlp.down_proj"
    first, second, other = (float(one[path]["shift.s-pts"]) for one in runs)
    assert first == second != other


# The command line


def test_file_and_metadata(run: Run, tmp_path: Path, tiny: LanguageModel, tiny_text: Text) -> None:
    methods = ["2:4,shift=s-pts", "8:16,ls=scale"]
    status, out, err = run(
        *methods, "--token0", "exclude", "--seed", "4", "--epochs", "2", "--learning-rate", "0.001"
    )
    assert (status, err) == (0, "")
    file = tmp_path / "out" / "c"
    assert [path.name for path in file.parent.iterdir()] == ["c"]
    got = read_constants(file)
    recipe = Recipe(epochs=2, learning_rate=0.001, seed=4)
    expected, losses = take(tiny, tiny_text, *methods, token0=False, recipe=recipe)
    metadata = dict(got.metadata)
    versions = {key: metadata.pop(key) for key in ("torch", "transformers", "nmsparse")}
    assert versions["torch"] == torch.__version__
    assert metadata == {
        "model": "tiny",
        "model_source": "folder",
        "model_sha256": tiny.sha256,
        "architecture": "LlamaForCausalLM",
        "text": "words.txt",
        "text_sha256": tiny_text.sha256,
        "tokenizer": f"{type(tiny.tokenizer).__name__}, 66 entries, no special tokens added",
        "tokens": "10:90",
        "window": "12",
        "windows": "3",
        "seed": "4",
        "token0": "exclude",
        "methods": "2:4,shift=s-pts 8:16,ls=scale",
        "recipe": '{"epochs": 2, "learning_rate": 0.001, "warmup": 0.03, "betas": [0.9, 0.95],'
        ' "weight_decay": 0.0, "clip": 1.0, "seed": 4}',
        "command": "python -m sw.calibrate 2:4,shift=s-pts 8:16,ls=scale --model tiny"
        " --text words.txt --tokens 10:90 --window 12 --windows 3 --seed 4 --token0 exclude"
        " --epochs 2 --learning-rate 0.001",
    }
    assert Constants(got.tensors, {}).to_bytes() == Constants(expected.tensors, {}).to_bytes()
    assert str(tmp_path).encode() not in file.read_bytes()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == "mean squared error of the layers of 8:16,ls=scale".split()
    after = [
        [f"{one.layer}", f"{one.before:.4g}", f"{one.after:.4g}"] for one in losses["8:16,ls=scale"]
    ]
    assert lines[3:5] == after
    assert lines[8:10] == [
        ["shift.s-pts", "14", "14"],
        ["gain@8:16,ls=scale", "14", f"{2 * (32 + 16 + 16 + 32 + 48 + 48 + 32)}"],
    ]
    assert out.endswith(f"wrote {file} ({file.stat().st_size:,} bytes)\n")
    first = file.read_bytes()
    run(*methods, "--token0", "exclude", "--seed", "4", "--epochs", "2", "--learning-rate", "0.001")
    assert file.read_bytes() == first


@pytest.mark.parametrize("stop", [2, 4, 9, 30])
def test_stopped_and_taken_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    methods = ["2:4,shift=s-pts-channel", "8:16,ls"]
    other = tmp_path / "whole"
    run(*methods, "-o", str(other))
    original = calibrate_module.LayerWalk.run
    calls = 0

    def stopping(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise InputError("stopped")
        return original(*arguments)

    monkeypatch.setattr(calibrate_module.LayerWalk, "run", stopping)
    assert run(*methods)[0] == 2
    assert not (tmp_path / "out" / "c").exists()
    after_stop = calls
    assert run(*methods)[0] == 0
    resumed = calls - after_stop
    assert (tmp_path / "out" / "c").read_bytes() == other.read_bytes()
    assert not (tmp_path / "out" / "c.parts").exists()
    calls = stop
    run(*methods)
    whole = calls - stop
    # A walk's first step is checked again; at 2 no layer was done.
    assert resumed < whole if stop > 4 else resumed <= whole


def test_parts_of_another_run(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "c.parts"
    Parts(folder, {"seed": "9"}).write("statistics", 0, {}, [])
    status, _, err = run("2:4,shift=s-pts")
    assert status == 2
    assert err == (
        "python -m sw.calibrate: error: output must be free of the parts of another run, not beside"
        f" {str(folder)!r} (remove it)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2:4"], "methods must need constants, not 2:4"),
        (["2:4,ls", "dense"], "methods must need constants, not dense"),
        (["2:4,ls,ls"], "method must have ls once, not again in 'ls'"),
        (["2:4,ls", "--tokens", "9"], "tokens must be START:STOP with 0 <= START < STOP, not '9'"),
        (["2:4,ls", "--tokens", "0:101"],
         "tokens must be within the 100 tokens of the text, not 0:101"),
        (["2:4,ls", "--window", "1"],
         "window must be between 2 and the 80 tokens of the range, not 1"),
        (["2:4,ls", "--window", "81"],
         "window must be between 2 and the 80 tokens of the range, not 81"),
        (["2:4,ls", "--windows", "0"], "windows must be at least 1, not 0"),
        (["2:4,ls", "--token0", "x"], "token0 must be include or exclude, not 'x'"),
        (["2:4,ls", "--epochs", "0"], "epochs must be at least 1, not 0"),
        (["2:4,ls", "--learning-rate", "0"], "learning-rate must be positive, not 0.0"),
        (["2:4,shift=s-pts,linears=lm_*"],
         "linears must lie in numbered layers, not lm_head"),
        (["2:4,ls", "-o", "/no/such/c"],
         "output must be a file that can be written, not '/no/such/c'"),
        ([], "the following arguments are required: METHOD"),
    ],
)  # fmt: skip
def test_wrong_argument(
    run: Run, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also as root nothing can be written there.
    monkeypatch.setattr("os.access", lambda place, _: Path(place) != Path("/"))
    assert run(*arguments) == (2, "", f"python -m sw.calibrate: error: {message}\n")


def test_other_files_are_not_overwritten(run: Run, tiny_folder: Path) -> None:
    weights = tiny_folder / "model.safetensors"
    before = weights.read_bytes()
    status, _, err = run("2:4,ls", "-o", str(weights))
    assert (status, err) == (
        2,
        "python -m sw.calibrate: error: output must be new or replace constants, not"
        f" {str(weights)!r}, which is something else\n",
    )
    assert weights.read_bytes() == before
