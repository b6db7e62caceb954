from pathlib import Path
from typing import Any

import pytest
import torch

from sw import benchmark_forward as module
from sw.benchmark_forward import main, measure
from sw.errors import InputError
from sw.method import Method
from sw.model import LanguageModel
from sw.sparse_linear import SparseLinear
from tests.sw.command import Run, runner
from tests.sw.tiny_model import words

WINDOW = torch.arange(8).unsqueeze(0)


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line on the tiny model and a text of 100 words."""
    text = tmp_path / "words.txt"
    text.write_text(words(100))
    options = ["--model", str(tiny_folder), "--text", str(text), "--window", "12"]
    return runner(main, options, capsys)


def test_ratio_is_the_median_of_rounds(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds of the passes, dense and sparse by turns; the first of each is not counted.
    passes = iter([90.0, 1.0, 2.0, 8.0, 3.0, 6.0, 1.0, 4.0])
    now = 0.0
    is_end = False

    def clock() -> float:
        nonlocal now, is_end
        now += next(passes) if is_end else 0.0
        is_end = not is_end
        return now

    monkeypatch.setattr(module.time, "perf_counter", clock)
    ticks: list[None] = []
    dense, sparse = measure(
        tiny.model, WINDOW, [Method.parse("2:4")], 3, lambda: ticks.append(None)
    )
    assert (str(dense.method), dense.seconds, dense.ratio) == ("dense", 2.0, 1.0)
    # Of 4, 2 and 4, where the ratio of the medians is 3.
    assert (str(sparse.method), sparse.seconds, sparse.ratio) == ("2:4", 6.0, 4.0)
    assert len(ticks) == 8


def test_each_method_is_in_the_model_when_it_is_timed(tiny: LanguageModel) -> None:
    seen: list[str] = []

    def look(*_: Any) -> None:
        up = tiny.model.model.layers[0].mlp.up_proj
        sparsifier = up.sparsifier if isinstance(up, SparseLinear) else None
        seen.append("dense" if sparsifier is None else str(sparsifier.method))

    handle = tiny.model.register_forward_pre_hook(look)
    methods = ["8:16,criterion=amber", "2:4,var,low-rank=2"]
    before = dict(tiny.model.named_modules())
    try:
        measure(tiny.model, WINDOW, [Method.parse(text) for text in methods], 2)
    finally:
        handle.remove()
    assert seen == ["dense", *methods] * 3
    assert dict(tiny.model.named_modules()) == before


def test_calibration_is_not_done_here(tiny: LanguageModel) -> None:
    with pytest.raises(
        InputError, match=r"^constants must hold shift\.s-pts of model\.layers\.0\."
    ):
        measure(tiny.model, WINDOW, [Method.parse("2:4,shift=s-pts")], 1)


def test_table(run: Run) -> None:
    before = torch.get_num_threads()
    status, out, _ = run("dense", "4:8", "2:4,var", "--rounds", "1", "--threads", "2")
    assert torch.get_num_threads() == before
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == (f"tiny in fp32, 12 tokens, 2 threads, rounds: 1, torch {torch.__version__}")
    rows = [line.split() for line in lines[3:]]
    assert [row[0] for row in rows] == ["dense", "4:8", "2:4,var"]
    assert rows[0][2] == "1.00"
    assert all(float(row[1]) >= 0 and float(row[2]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["2:5:3"], "method must begin with dense, N:M or unstructured=RATIO, not '2:5:3'"),
        (["2:4", "--rounds", "0"], "rounds must be at least 1, not 0"),
        (["2:4", "--threads", "0"], "threads must be at least 1, not 0"),
        (["2:4", "--window", "101"],
         "tokens must be within the 100 tokens of the text, not 0:101"),
        ([], "the following arguments are required: METHOD"),
    ],
)  # fmt: skip
def test_wrong_argument(run: Run, arguments: list[str], message: str) -> None:
    assert run(*arguments) == (2, "", f"python -m sw.benchmark_forward: error: {message}\n")
