"""A layer through a tile: a slice of a real one in any simulator, small ones in Verilator."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sim.run_layer
from hw.config import UnitConfig
from hw.emit import emit
from hw.ports import input_streams, output_payload
from sim.captured import LAYERS
from sim.run_layer import LayerError, linears_of, main, run_linear
from sim.runner import BenchResult
from sim.simulator import Simulator, SimulatorMissing, find_simulator
from sim.verilated_tile import TileError, TileRun, VerilatedTile, build_tile
from sim.words import payload_codes, payload_words
from sw.golden import Payload, unit_model
from sw.linears import linear_name
from sw.model import ModelUnavailable, default_model_file, load_model
from sw.quantized_linear import QuantizedLinear
from sw.text import load_text
from sw.tile_matrix import product_of_sums, steps_of_product

TILE = UnitConfig(n=8, m=16, unit="tile", dtype="int8", rows=2, cols=4)
SMALL = UnitConfig(n=2, m=4, unit="tile", dtype="int8", rows=2, cols=3, acc_width=24)


def some_linear(tokens: int = 5, features: int = 22, outputs: int = 7) -> QuantizedLinear:
    generator = torch.Generator().manual_seed(tokens)
    return QuantizedLinear(
        torch.randn(tokens, features, generator=generator),
        torch.randn(outputs, features, generator=generator),
    )


# A slice of the real layer


@pytest.fixture(scope="module")
def layer() -> dict[str, QuantizedLinear]:
    """Some tokens and outputs of the layer that the command takes."""
    try:
        default_model_file()
    except ModelUnavailable as error:
        pytest.skip(f"the language model cannot be had: {error}")
    number = sim.run_layer.LAYER
    assert number in LAYERS
    linears = linears_of(load_model(), load_text(), layer=number, tokens=3)
    assert list(linears) == [linear_name(number, name) for name in ("gate", "down")]
    return {
        name: QuantizedLinear(linear.x, linear.weight[:6]) for name, linear in linears.items()
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 16])
def test_slice(
    n: int, layer: dict[str, QuantizedLinear], bench: Callable[..., BenchResult]
) -> None:
    """Bit for bit the product of matrices, and the golden model, which the bench compares."""
    config = replace(TILE, n=n)
    for linear in layer.values():
        steps = steps_of_product(config, linear.data, linear.weights)
        given = {
            prefix: payload_words(steps, fields)
            for prefix, fields in input_streams(config).items()
        }  # fmt: skip
        outputs = bench(config, given=given, tests="without_stalls").outputs["without_stalls"]
        sums = payload_codes(outputs["o"], output_payload(config))["sum"]
        product = product_of_sums(config, sums, len(linear.x), len(linear.weight))
        assert torch.equal(product, linear.product(config))


# In Verilator


@pytest.fixture(scope="module")
def verilator() -> Simulator:
    try:
        return find_simulator("verilator")
    except SimulatorMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tile(verilator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> VerilatedTile:
    return build_tile(SMALL, simulator=verilator, folder=tmp_path_factory.mktemp("tile"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_linear(seed: int, tile: VerilatedTile, tmp_path: Path) -> None:
    seen: list[int] = []
    linear = some_linear(30, 50, 20)
    result = run_linear(linear, tile, tmp_path, seed=seed, progress=seen.append)
    assert result.steps == 15 * 7 * 13
    assert result.compared == 30 * 20
    assert seen == list(range(64, result.steps + 1, 64))
    if seed:
        assert result.cycles > result.steps + SMALL.latency_cycles


@pytest.mark.slow
def test_it_is_built_once(tile: VerilatedTile, verilator: Simulator) -> None:
    before = tile.program.stat()
    assert build_tile(SMALL, simulator=verilator, folder=tile.program.parents[2]) == tile
    assert tile.program.stat() == before


@pytest.mark.slow
def test_verilog_that_is_none(verilator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(TileError, match=f"{SMALL.top} on verilator: (.|\n)*syntax error"):
        build_tile(SMALL, simulator=verilator, folder=tmp_path, verilog="module (")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        # No activations are ever taken; other values than those that were kept.
        (".i_ready(i_ready)", ".i_ready()", TileError, "stands still"),
        (".i_values(", ".i_values(~", LayerError, "of o_sum differ from step 0"),
    ],
)
def test_broken_tiles(
    old: str,
    new: str,
    error: type[Exception],
    message: str,
    verilator: Simulator,
    tmp_path: Path,
) -> None:
    top, *parts = emit(SMALL).verilog.partition("endmodule")
    assert old in top
    broken = build_tile(
        SMALL,
        simulator=verilator,
        folder=tmp_path,
        verilog="".join([top.replace(old, new), *parts]),
    )
    with pytest.raises(error, match=message):
        run_linear(some_linear(), broken, tmp_path)


# The command, with a tile that is not simulated


class ModelTile(VerilatedTile):
    """A tile that does what the golden model says, and notes how often."""

    runs = 0
    spoil: Callable[[Payload], Payload] = staticmethod(lambda outputs: outputs)
    delay = 0

    def run(self, steps: Payload, *_: Any, **__: Any) -> TileRun:
        type(self).runs += 1
        outputs = self.spoil(unit_model(self.config)(steps))
        return TileRun(outputs, len(steps["last"]) + self.config.latency_cycles + self.delay)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> type[ModelTile]:
    class Tile(ModelTile):
        pass

    def build(config: UnitConfig, *, simulator: Simulator, folder: Path) -> VerilatedTile:
        assert simulator.name == "verilator"
        return Tile(config, folder / config.top / "build" / "Vtile")

    replacements: dict[str, Any] = {
        "find_simulator": lambda name: Simulator(name, "5"),
        "load_model_and_text": lambda _: (None, load_text()),
        "origin": lambda *_: {"model": "tiny", "text": "a text"},
        "linears_of": lambda *_, layer, tokens: {f"layers.{layer}.gate_proj": some_linear(tokens)},
        "build_tile": build,
    }
    for name, value in replacements.items():
        monkeypatch.setattr(sim.run_layer, name, value)
    return Tile


ARGUMENTS = ("--n", "2", "--m", "4", "--rows", "2", "--cols", "3", "--tokens", "5", "--layer", "3")


def test_command(
    faked: type[ModelTile], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was done is not done again; a dense tile has no error of sparsity."""
    assert main([*ARGUMENTS, "-o", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    assert faked.runs == 2
    assert first.startswith("tiny, layer 3, tokens 0:5 of a text; int8 tiles of 2 x 3; verilator 5")
    rows = [line.split() for line in first.splitlines() if line.startswith("layers.3")]
    # 3 x 3 reductions of 6 steps; 5 tokens of 7 outputs.
    assert [row[1:5] for row in rows] == [["4:4", "54", "57", "35"], ["2:4", "54", "57", "35"]]
    assert rows[0][-1] == "0.0000" != rows[1][-1]
    assert main([*ARGUMENTS, "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().out == first
    assert faked.runs == 2


@pytest.mark.parametrize(
    ("spoil", "delay", "message"),
    [
        (lambda o: {**o, "sum": o["sum"] ^ (torch.arange(9) == 4).long()[:, None]}, 0,
         "6 of 18 of o_sum differ from step 18\n"),
        (lambda o: {**o, "error": o["error"] + 1}, 0, "6 of 6 of o_error differ from step 0\n"),
        (lambda o: {name: codes[1:] for name, codes in o.items()}, 0, "8 results, not 9\n"),
        (lambda o: o, 1, "54 steps took 58 cycles, not 57\n"),
    ],
)  # fmt: skip
def test_differences(
    spoil: Callable[[Payload], Payload],
    delay: int,
    message: str,
    faked: type[ModelTile],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faked, "spoil", staticmethod(spoil))
    monkeypatch.setattr(faked, "delay", delay)
    assert main([*ARGUMENTS, "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith(message)
    assert not list(tmp_path.glob("*.json"))


def test_the_product_itself(faked: type[ModelTile], tmp_path: Path) -> None:
    """The golden model of another tile is no excuse."""
    linear = some_linear()
    tile = faked(SMALL, tmp_path / "tile" / "build" / "Vtile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sim.run_layer, "product_of_sums", lambda *_: linear.product(SMALL) + 1)
        with pytest.raises(LayerError, match=r"^35 of 35 outputs are not the product of matrices$"):
            run_linear(linear, tile, tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--tokens 0", "--tokens must be at least 1, not 0"),
        ("--seed -1", "--seed must be at least 0, not -1"),
        ("--n 9 --m 8", "--n must be between 1 and m = 8, not 9"),
        ("--rows 65", "--rows must be between 1 and 64, not 65"),
        (
            "--text none.txt",
            "text must be a file that can be read, not 'none.txt' (No such file or directory)",
        ),
    ],
)
def test_refused(
    words: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sim.run_layer, "find_simulator", lambda _: Simulator("verilator", "5"))
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"python -m sim.run_layer: error: {message}\n"
    assert not list(tmp_path.iterdir())
