"""The tile: bugs that its bench must find, and how far its streams run ahead of each other."""

import re
from pathlib import Path

import pytest

import hw.units
import hw.units.tile
from hw.config import UnitConfig
from hw.emit import emit
from sim.runner import BenchError, run_module
from sim.seeded import Bench, expect_failure
from sim.simulator import Simulator
from tests.mutant import mutant

pytestmark = pytest.mark.slow

TILE = UnitConfig(n=2, m=4, unit="tile", dtype="int4", rows=2, cols=2)
FLEXIBLE = UnitConfig(flexible=((1, 2), (2, 4), (4, 8)), unit="tile", dtype="int4", rows=2, cols=1)


def broken(monkeypatch: pytest.MonkeyPatch, config: UnitConfig, old: str, new: str) -> str:
    """Verilog of a tile of whose text one place is another."""
    with monkeypatch.context() as patch:
        patch.setitem(hw.units._UNITS, "tile", mutant(hw.units.tile, old, new).TileUnit)
        return emit(config).verilog


@pytest.mark.parametrize(
    ("config", "old", "new", "message"),
    [
        # All rows multiply what the first one keeps.
        (TILE, "row.o.payload[name]", "rows[0].o.payload[name]", "outputs differ"),
        # All columns have the weights of the first one.
        (TILE, "column.o.payload.weights", "columns[0].o.payload.weights", "outputs differ"),
        # Weights go on without the activations of their step.
        (TILE, "self.w.ready.eq(self.i.valid & ", "self.w.ready.eq(", "outputs|Timeout"),
        # PEs take a step of which there are no weights yet.
        (TILE, "self.o.valid.eq(self.i.valid & self.w.valid)", "self.o.valid.eq(self.i.valid)",
         "outputs"),
        # The end of a reduction comes with an earlier step.
        (TILE, "(row.o.payload[name])", '(row.i.payload[name] if name == "last" else '
         "row.o.payload[name])", "outputs|results took"),
        # Rows come out in the order of columns.
        (TILE, "Cat(sums)", "Cat(sums[0::2] + sums[1::2])", "outputs differ"),
        # The errors of the other row; no look at patterns at all.
        (FLEXIBLE, "Cat(errors)", "Cat(errors[::-1])", "outputs differ"),
        (FLEXIBLE, "check=pe.check", "check=False", "outputs differ"),
    ],
)  # fmt: skip
def test_seeded_bug(
    config: UnitConfig,
    old: str,
    new: str,
    message: str,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expect_failure(bench, config, broken(monkeypatch, config, old, new), message)


def test_latency(bench: Bench) -> None:
    """A sparsifier has a stage too many."""
    deeper = UnitConfig(
        n=2, m=4, unit="tile", dtype="int4", rows=2, cols=2, pipeline=2, name=TILE.top
    )
    expect_failure(bench, TILE, emit(deeper).verilog, r"results took \[5\] cycles, not 3")


def test_throughput(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights take a step in every other cycle."""
    old = "self.w.ready.eq(columns[0].i.ready)"
    new = "self.w.ready.eq(columns[0].i.ready & ~columns[0].o.valid)"
    verilog = broken(monkeypatch, TILE, old, new)
    expect_failure(bench, TILE, verilog, "groups entered every|outputs|fell before")


# How far


def run_ahead(
    config: UnitConfig, simulator: Simulator, folder: Path, verilog: str | None = None
) -> None:
    """Run the tests of each stream standing still."""
    run_module(
        config, "sim.bench.tile_tests", simulator=simulator, folder=folder, verilog=verilog,
        counts={"random": 50},
    )  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        TILE,
        UnitConfig(n=2, m=4, unit="tile", dtype="int4", rows=1, cols=2, pipeline=3),
        UnitConfig(n=4, m=4, unit="tile", dtype="int4", rows=1, cols=1, pipeline=2),
    ],
    ids=lambda config: f"{config.n}:{config.m}-{config.pipeline}",
)
def test_steps_ahead(config: UnitConfig, simulator: Simulator, tmp_path: Path) -> None:
    run_ahead(config, simulator, tmp_path)


def test_weights_without_a_place_to_wait(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "inputs=weights, outputs=weights, steps=(), stages=2"
    verilog = broken(monkeypatch, TILE, old, old.replace("2", "1"))
    with pytest.raises(BenchError, match=re.escape("{'i': 2, 'w': 1} steps entered") + "|'w': 1"):
        run_ahead(TILE, simulator, tmp_path, verilog)
