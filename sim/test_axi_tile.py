"""The tile behind AXI, held against masters that others wrote, and bugs that they must find."""

import types
from dataclasses import replace
from pathlib import Path

import pytest

import hw.axi_lite
import hw.beats
import hw.units
import hw.units.axi_tile
from hw.config import UnitConfig
from hw.emit import emit
from sim.runner import BenchError, run_module
from sim.simulator import Simulator
from tests.mutant import mutant

pytestmark = pytest.mark.slow

MODULE = "sim.bench.axi_tests"

PLAIN = UnitConfig(n=2, m=4, unit="axi_tile", dtype="int8", rows=2, cols=3, word=32)

SCALED = UnitConfig(
    n=3, m=7, unit="axi_tile", dtype="int4", rows=2, cols=2, acc_width=20, criterion="scaled",
    shift="static", depth=8, pipeline=2,
)  # fmt: skip
FLEXIBLE = UnitConfig(
    flexible=((1, 2), (2, 4), (4, 8)), unit="axi_tile", dtype="int4", rows=2, cols=1, word=32
)

CONFIGS = (
    PLAIN,
    SCALED,
    FLEXIBLE,
    UnitConfig(n=4, m=4, unit="axi_tile", dtype="bf16", rows=1, cols=2, word=1024, pipeline=4),
)


def run(config: UnitConfig, simulator: Simulator, folder: Path, verilog: str | None = None) -> None:
    """Run the tests, with the golden model of the tile alone."""
    model = replace(config, unit="tile", word=UnitConfig.word)
    run_module(
        config, MODULE, simulator=simulator, folder=folder, verilog=verilog, model=model
    )  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.top)
def test_axi_tile(config: UnitConfig, simulator: Simulator, tmp_path: Path) -> None:
    run(config, simulator, tmp_path)


@pytest.mark.parametrize(
    ("config", "module", "name", "old", "new", "message"),
    [
        # Beats in the wrong order; the sign of a sum is lost; a beat of the results comes twice.
        (PLAIN, hw.beats, "Collect", "Cat(earlier, self.i.payload.data)",
         "Cat(self.i.payload.data, earlier)", "result 0 differs"),
        (SCALED, hw.units.axi_tile, "AxiTileUnit", ".as_signed()", "", "result 0 differs"),
        (PLAIN, hw.beats, "Spread", "held.eq(held[self._width :])", "held.eq(held)",
         "result 0 differs"),
        # A pattern and a length act at once, not from the next reduction on.
        (FLEXIBLE, hw.units.axi_tile, "AxiTileUnit", "Mux(is_first, register, held)", "register",
         "result 0 differs|Timeout"),
        # The whole word is written whatever the strobes say; all addresses exist.
        (PLAIN, hw.axi_lite, "RegisterFile", "(held & ~strobes) | (data & strobes)", "data",
         "identification failed"),
        (PLAIN, hw.axi_lite, "RegisterFile", "Mux(is_known, _OKAY, _SUBORDINATE_ERROR)", "_OKAY",
         "identification failed"),
        # What is written clears what it does not name; nothing is said of TLAST; always busy.
        (PLAIN, hw.axi_lite, "RegisterFile", "(held & ~cleared)", "(held & ~hit)",
         "lengths failed"),
        (PLAIN, hw.units.axi_tile, "AxiTileUnit", "activations.misplaced | ", "",
         "last_inside_a_step failed"),
        (PLAIN, hw.units.axi_tile, "AxiTileUnit", "under_way + opens - closes",
         "under_way + opens", "reductions.* failed"),
    ],
)  # fmt: skip
def test_seeded_bug(
    config: UnitConfig,
    module: types.ModuleType,
    name: str,
    old: str,
    new: str,
    message: str,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = getattr(mutant(module, old, new), name)
    with monkeypatch.context() as patch:
        if name == "AxiTileUnit":
            patch.setitem(hw.units._UNITS, "axi_tile", broken)
        else:
            patch.setattr(hw.units.axi_tile, name, broken)
        verilog = emit(config).verilog
    with pytest.raises(BenchError, match=message):
        run(config, simulator, tmp_path, verilog)
