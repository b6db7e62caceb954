"""Layers of models on a tile: the numbers of a layer, the tables, the command line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sim.model_shapes import MODELS
from sim.tile_cost import System
from sim.tile_model import main
from sim.tile_model_report import Request, Row, layer_rows, update
from sw.errors import InputError

ROOT = Path(__file__).parents[1]

#: The least that one can ask for.
SMALL = ("--model", "SmolLM2-135M", "--patterns", "8:16", "--codes", "bitmap")


def of(rows: list[Row], phase: str, pattern: str, code: str | None = None) -> Row:
    (found,) = [row for row in rows if (row.phase, row.pattern, row.code) == (phase, pattern, code)]
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The only line that the command prints before it exits with status 2, without its name."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    name, _, message = printed.err.partition(": error: ")
    assert name == "python -m sim.tile_model"
    return message.removesuffix("\n")


# A layer


def test_decoding() -> None:
    """Llama-3.1-8B on 4 x 64, one text, everything by hand."""
    row = of(layer_rows(Request(), "Llama-3.1-8B"), "decode", "8:16", "enumerative")
    # Columns' worth of outputs times groups: q, o; k, v; gate, up; down.
    steps = 2 * 64 * 256 + 2 * 16 * 256 + 2 * 224 * 256 + 64 * 896
    weights = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336
    cost = row.cost
    assert cost.cycles == steps + 7 * 3
    assert cost.multiplications == weights // 2
    # 256 groups of 78 bits, and 896 of them.
    assert cost.activation_bytes == 6 * 2496 + 8736
    assert cost.weight_bytes == weights // 2
    assert cost.result_bytes == 4 * (2 * 4096 + 2 * 1024 + 2 * 14_336 + 4096)
    # The token once for each 64 columns: q, o; k, v; gate, up; down.
    activations = (2 * 64 + 2 * 16 + 2 * 224) * 2496 + 64 * 8736
    assert cost.tile_bytes == activations + weights // 2 + cost.result_bytes
    energy = (
        cost.multiplications * 0.3 * 1.25
        + 8 * (cost.tile_bytes + cost.memory_bytes) * 1.5625
        + 8 * cost.memory_bytes * 20.3125
    )
    assert row.energy == pytest.approx(energy)


def test_shares() -> None:
    rows = layer_rows(Request(), "Llama-3.1-8B")
    row = of(rows, "decode", "8:16", "enumerative")
    dense = of(rows, "decode", "16:16")
    shares = row.of_dense
    assert row.dense is dense
    # A dense tile of 8 lanes takes twice the steps.
    assert shares["cycles"] == (212_992 + 21) / (2 * 212_992 + 21)
    assert shares["weights"] == 0.5
    assert shares["activations"] == (6 * 2496 + 8736) / (6 * 4096 + 14_336)
    assert shares["bytes"] == row.cost.memory_bytes / dense.cost.memory_bytes
    assert shares["energy"] == row.energy / dense.energy
    assert dense.of_dense == {
        "cycles": 1, "activations": 1, "weights": 1, "bytes": 1, "energy": 1,
    }  # fmt: skip


def test_prefill() -> None:
    """SmolLM2's layer fits: everything is read once, and all rows of weights."""
    rows = layer_rows(Request(), "SmolLM2-135M")
    row = of(rows, "prefill", "2:4", "bitmap")
    # 512 rows' worth of tokens.
    steps = 512 * (2 * 9 * 144 + 2 * 3 * 144 + 2 * 24 * 144 + 9 * 384)
    assert row.cost.cycles == steps + 21
    # 144 groups of 20 bits, and 384.
    assert row.cost.activation_bytes == 2048 * (6 * 360 + 960)
    assert row.cost.weight_bytes == 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536


@pytest.mark.parametrize(
    ("reads", "prefill", "decode"),
    [("auto", False, True), ("mux", False, False), ("gather", True, True)],
)
def test_weight_reads(reads: str, prefill: bool, decode: bool) -> None:
    request = Request(weight_reads=reads, tokens={"prefill": 2, "decode": 1})
    rows = layer_rows(request, "SmolLM2-135M")
    weights = 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536
    counts = [of(rows, phase, "2:4", "bitmap").cost.weight_bytes for phase in ("prefill", "decode")]
    assert counts == [weights * 3 // 4 if prefill else weights, weights // 2 if decode else weights]


def test_activations_with_all_lanes() -> None:
    """Only arithmetic is saved in a prefill."""
    request = Request(system=System(packed=False))
    row = of(layer_rows(request, "SmolLM2-135M"), "prefill", "2:4", "bitmap")
    assert row.of_dense["bytes"] == 1
    assert row.of_dense["cycles"] == pytest.approx(0.5, abs=1e-5)


def test_one_kept_lane() -> None:
    """There is no tile of one lane to compare with."""
    row = of(layer_rows(Request(patterns=[(1, 4)]), "SmolLM2-135M"), "decode", "1:4", "index")
    assert row.equal_cycles is None
    assert row.of_dense["cycles"] is None


def test_phases_in_their_order() -> None:
    rows = layer_rows(Request(tokens={"decode": 1, "prefill": 4}, codes=["index"]), "Gemma-3-4B")
    assert [(row.phase, row.pattern, row.code) for row in rows[:8]] == [
        ("decode", "4:4", None), ("decode", "8:8", None), ("decode", "16:16", None),
        ("decode", "32:32", None), ("decode", "2:4", "index"), ("decode", "4:8", "index"),
        ("decode", "8:16", "index"), ("decode", "16:32", "index"),
    ]  # fmt: skip
    assert [row.phase for row in rows] == ["decode"] * 8 + ["prefill"] * 8


# The command line


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--phase", "decode", "--batch", "3"]) == 0
    printed = capsys.readouterr().out
    title, model, header, _, *rest = [line for line in printed.splitlines() if line]
    assert title == (
        "tile 4 x 64, int8; decoding a token of 3 texts; of each model one decoder layer"
    )
    assert model == "SmolLM2-135M, 30 layers"
    assert header.split() == [
        "phase", "pattern", "code", "cycles", "of", "N", "lanes", "activations", "MB", "weights",
        "MB", "results", "MB", "all", "MB", "of", "dense", "bytes", "a", "cycle", "mJ", "of",
        "dense",
    ]  # fmt: skip
    dense, sparse, *notes = rest
    # 3,456 steps, 3 tokens of 6 * 576 + 1,536 bytes, and 4 * 5,184 bytes of results a token.
    assert dense.split()[:9] == [
        "decode", "16:16", "-", "3,477", "-", "0.015", "3.539", "0.062", "3.616",
    ]  # fmt: skip
    # 3 * (6 * 360 + 960) bytes, and 7/8 of the rows.
    assert sparse.split()[:10] == [
        "decode", "8:16", "bitmap", "3,477", "0.502", "0.009", "3.097", "0.062", "3.168", "0.876",
    ]  # fmt: skip
    assert notes[0] == "cycles: as the hardware's, when nothing stalls; each linear by itself"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--linears", "q,down", "--memory-energy", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    context = report["context"]
    assert context["command"] == (
        "python -m sim.tile_model --model SmolLM2-135M --patterns 8:16 --codes bitmap"
        " --linears q,down --memory-energy 4 --json"
    )
    assert context["energies"] == {
        "multiplication": pytest.approx(0.3), "selection": 0.25, "buffer": 1.5625, "memory": 4,
    }  # fmt: skip
    assert context["models"]["SmolLM2-135M"]["hidden"] == 576
    assert [(row["phase"], row["pattern"], row["code"]) for row in report["rows"]] == [
        ("prefill", "16:16", None), ("prefill", "8:16", "bitmap"),
        ("decode", "16:16", None), ("decode", "8:16", "bitmap"),
    ]  # fmt: skip
    decode = report["rows"][-1]
    assert list(decode["linears"]) == ["q", "down"]
    assert decode["linears"]["q"]["cycles"] == 9 * 36 + 3
    assert decode["cycles"] == 9 * 36 + 3 + 9 * 96 + 3
    assert decode["equal_multipliers_cycles"] == 9 * 72 + 3 + 9 * 192 + 3
    assert decode["memory_bytes"] == 360 + 960 + (576 * 576 + 1536 * 576) // 2 + 8 * 576


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--dtype", "bf16", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(
        "# Layers on a tile\n\n    python -m sim.tile_model --model SmolLM2-135M --patterns 8:16"
        " --codes bitmap --dtype bf16 --markdown\n\ntile 4 x 64, bf16; "
    )
    assert "\n## SmolLM2-135M\n\n| phase " in page


def test_formats_without_published_energy(capsys: pytest.CaptureFixture[str]) -> None:
    mixed = (*SMALL, "--weight-dtype", "int4")
    assert refusal(capsys, *mixed) == (
        "multiplication energy must be given for formats other than two equal ones of int8, fp16,"
        " bf16, not int8 by int4"
    )
    assert main([*mixed, "--multiplication-energy", "0.2"]) == 0
    assert "0.2 pJ a multiplication" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "GPT-2"],
            "model must be of SmolLM2-135M, Llama-2-7B, Llama-3.1-8B, Qwen2.5-7B, Gemma-3-4B,"
            " not 'GPT-2'",
        ),
        (["--phase", "training"], "phase must be of prefill, decode, not 'training'"),
        (
            ["--phase", "decode,decode"],
            "phase must be different ones, not decode,decode",
        ),
        (
            ["--codes", "index,runs"],
            "codes must be of bitmap, index, bitmap-implied, enumerative, not 'runs'",
        ),
        (["--codes", "index,index"], "codes must be different ones, not index,index"),
        (
            ["--linears", "q,embedding"],
            "linears must be of q, k, v, o, gate, up, down, lm_head, not 'embedding'",
        ),
        (["--weight-reads", "all"], "weight-reads must be of auto, mux, gather, not 'all'"),
        (["--tokens", "0"], "tokens must be at least 1, not 0"),
        (["--batch", "-1"], "batch must be at least 1, not -1"),
        (["--buffer", "0"], "buffer must be at least 1, not 0"),
        (["--result-width", "0"], "result-width must be at least 1, not 0"),
        (["--selection-energy", "-1"], "selection energy must be at least 0, not -1"),
        (["--rows", "65"], "rows must be between 1 and 64, not 65"),
        (["--patterns", "5:4"], "n must be between 1 and m = 4, not 5"),
        (
            ["--activations", "sparse"],
            "argument --activations: invalid choice: 'sparse' (choose from 'packed', 'dense')",
        ),
        (["--json", "--markdown"], "argument --markdown: not allowed with argument --json"),
        (["--update", "page.md", "--rows", "8"], "update must go without other options"),
        (
            ["--update", "none/page.md"],
            "update must be a page that can be read and written, not 'none/page.md'"
            " (No such file or directory)",
        ),
    ],
)
def test_refusals(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(capsys, *arguments) == message
    assert list(tmp_path.iterdir()) == []


# Generated text in pages


@pytest.mark.parametrize("name", ["README.md", "docs/tile_model.md"])
def test_pages_are_up_to_date(name: str) -> None:
    """Made with `python -m sim.tile_model --update`."""
    page = (ROOT / name).read_text()
    assert update(page) == page
    assert page.count("| 8:16  | `enumerative`") == 1
    # A number that is not so any more would be seen.
    assert update(page.replace(" / 0.500", " / 0.501", 1)) == page


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("text\n", "page must have marks <!-- tile model: bytes -->, not none"),
        (
            "<!-- tile model: bytes -->\n",
            "marks <!-- tile model: bytes --> must be two, not 1",
        ),
        (
            "<!-- tile model: GPT-2 -->\n<!-- tile model: GPT-2 -->\n",
            "marks must be of bytes, Llama-3.1-8B, not 'GPT-2'",
        ),
    ],
)
def test_wrong_marks(
    page: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        update(page)
    assert str(error.value) == message
    path = tmp_path / "page.md"
    path.write_text(page)
    assert refusal(capsys, "--update", str(path)) == message
    assert path.read_text() == page


def test_update(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    mark = "<!-- tile model: Llama-3.1-8B -->"
    path.write_text(f"before\n\n{mark}\nold\n{mark}\n\nafter\n")
    assert main(["--update", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    page = path.read_text()
    start, table, end = page.split(mark)
    assert (start, end) == ("before\n\n", "\n\nafter\n")
    assert table.startswith("\n\n| phase   | pattern   | code           |")
    assert "| decode  | 8:16      | enumerative    |     213,013 |" in table
    assert "old" not in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ["SmolLM2-135M", "SmolLM2-135M"]}, "model must be different ones, not "
         "SmolLM2-135M,SmolLM2-135M"),
        ({"tokens": {"decode": 0}}, "batch must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_wrong_request(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Request(**options)
    assert str(error.value) == message


def test_all_models_are_shown() -> None:
    header = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if "Llama-2-7B |" in line
    )
    assert all(model in header for model in MODELS)


def test_does_not_write_through_an_unreadable_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "page.md"
    path.write_bytes(b"\xff\xfe\x00")
    assert refusal(capsys, "--update", str(path)) == (
        f"update must be a page that can be read and written, not {os.fspath(path)!r} (no text)"
    )
