"""Each check of the benches is shown to fail: a bug is built in, and the bench must find it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Value

import hw.metadata.bitmap
import hw.metadata.index
import hw.selectors.compare_matrix
import hw.units.pe
import hw.units.sparsifier
from hw.config import UnitConfig
from hw.emit import emit
from hw.pipeline import Bundle, Step
from hw.slots import gather
from sim.runner import BenchError, BenchResult

pytestmark = pytest.mark.slow

COUNTS = {"random": 100, "ties": 100, "corners": 100}
STALLED = {"random": 60}

Bench = Callable[..., BenchResult]


def expect_failure(bench: Bench, config: UnitConfig, verilog: str, message: str) -> None:
    """The correct unit passes, the broken one fails with that message."""
    sound = emit(config).verilog
    assert verilog != sound, "the bug is not in the Verilog"
    with pytest.raises(BenchError, match=message):
        bench(config, counts=COUNTS, stalled_counts=STALLED, verilog=verilog)


def emit_with(
    monkeypatch: pytest.MonkeyPatch, config: UnitConfig, place: object, name: str, bug: object
) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(place, name, bug)
        return emit(config).verilog


def test_tie_rule(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The higher lane wins a tie."""
    config = UnitConfig(n=2, m=4)
    verilog = emit_with(
        monkeypatch, config, hw.selectors.compare_matrix, "Const", lambda _, width: Const(0, width)
    )
    expect_failure(bench, config, verilog, "outputs differ")


def test_packing_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept values leave in descending lane order."""
    config = UnitConfig(n=2, m=4)
    bug = lambda *arguments: gather(*arguments)[::-1]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.units.sparsifier, "gather", bug)
    expect_failure(bench, config, verilog, "outputs differ")


@pytest.mark.parametrize("unit", ["sparsifier", "encoder"])
def test_bitmap(unit: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes of the bitmap are swapped."""
    config = UnitConfig(n=2, m=4, unit=unit)

    def bug(compute: Callable[..., Bundle], *arguments: Any, **options: Any) -> Step:
        def swapped(m: Module, bundle: Bundle) -> Bundle:
            first, second, *rest = compute(m, bundle)["meta"]
            return {"meta": [second, first, *rest]}

        return Step(swapped, *arguments, **options)

    verilog = emit_with(monkeypatch, config, hw.metadata.bitmap, "Step", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_index(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of the index list misses one of its lanes."""
    config = UnitConfig(n=2, m=4, unit="encoder", metadata="index")
    bug = lambda values: values[0]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.metadata.index, "any_of", bug)
    expect_failure(bench, config, verilog, "outputs differ")


@pytest.mark.parametrize("metadata", ["bitmap", "index"])
def test_illegal_code(metadata: str, bench: Bench) -> None:
    """The decoder lets illegal codes pass."""
    config = UnitConfig(n=2, m=4, unit="decoder", metadata=metadata, pipeline=0)
    verilog = re.sub(r"assign o_error = .*;", "assign o_error = 1'h0;", emit(config).verilog)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_misses_a_product(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")
    bug = lambda terms: terms[0]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.units.pe, "add_tree", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_takes_the_wrong_weight(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")
    bug = lambda *arguments: gather(*arguments)[::-1]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.units.pe, "gather", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_never_starts_afresh(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accumulator goes on from the last reduction."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")

    def bug(condition: Value, first: Any, second: Any) -> Value:
        is_fresh = getattr(condition, "name", "") == "fresh"
        return second if is_fresh else Mux(condition, first, second)

    verilog = emit_with(monkeypatch, config, hw.units.pe, "Mux", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_wraps_instead_of_saturating(bench: Bench) -> None:
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", acc_width=15, overflow="saturate")
    wrapping = UnitConfig(n=2, m=4, unit="pe", dtype="int8", acc_width=15)
    expect_failure(bench, config, emit(wrapping).verilog, "outputs differ")


def test_pe_takes_narrower_sum(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of the products loses its highest bit."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")
    tree = hw.units.pe.add_tree
    bug = lambda terms: Cat(tree(terms)[:16], 0)  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.units.pe, "add_tree", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_always_ready(bench: Bench) -> None:
    """Groups are lost while the output stalls."""
    config = UnitConfig(n=2, m=4, unit="selector")
    verilog = re.sub(r"assign i_ready = .*;", "assign i_ready = 1'h1;", emit(config).verilog)
    expect_failure(bench, config, verilog, "changed before its transfer|outputs")


def test_never_ready(bench: Bench) -> None:
    """The unit hangs."""
    config = UnitConfig(n=2, m=4, unit="selector")
    verilog = re.sub(r"assign i_ready = .*;", "assign i_ready = 1'h0;", emit(config).verilog)
    expect_failure(bench, config, verilog, "Timeout")


def test_valid_not_reset(bench: Bench) -> None:
    """A group survives the reset."""
    config = UnitConfig(n=2, m=4, unit="selector")
    verilog = re.sub(r"if \(rst\) o_valid <= 1'h0;\s*else ", "", emit(config).verilog)
    expect_failure(bench, config, verilog, "o_valid must be 0 after reset")


def test_undefined_output(bench: Bench) -> None:
    """A bit of the mask is X."""
    config = UnitConfig(n=2, m=4, unit="selector", pipeline=0)
    verilog = re.sub(
        r"assign o_mask\b(.*?) = .*?;", r"assign o_mask\1 = 4'bx;", emit(config).verilog, count=1
    )
    expect_failure(bench, config, verilog, "invalid literal")


def test_latency(bench: Bench) -> None:
    """The unit has one stage too many."""
    config = UnitConfig(n=2, m=4, unit="selector")
    deeper = UnitConfig(n=2, m=4, unit="selector", pipeline=2)
    expect_failure(bench, config, emit(deeper).verilog, r"results took \[2\] cycles, not 1")
