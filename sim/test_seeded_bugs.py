"""Each check of the benches is shown to fail: a bug is built in, and the bench must find it."""

import re
from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Mux, Value

import hw.comparators
import hw.dot_products.integer
import hw.metadata
import hw.metadata.bitmap
import hw.metadata.bitmap_implied
import hw.metadata.enumerative
import hw.metadata.enumerative_serial
import hw.metadata.index
import hw.selectors.run_time
import hw.units.decompressor
import hw.units.gathering_pe
import hw.units.pe
import hw.units.sparsifier
import hw.weight_select
from hw.column_sums import ColumnSum
from hw.config import METADATA, UnitConfig
from hw.emit import emit
from hw.metadata import read_index
from hw.metadata.run_time import run_time_index
from hw.pipeline import Bundle, Step
from hw.products import SignedProduct
from hw.ranking import at_least
from hw.slots import gather, kept_lanes, scatter
from sim.seeded import Bench, emit_with, expect_failure
from tests.mutant import mutant

pytestmark = pytest.mark.slow


def test_tie_rule(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The higher lane wins a tie."""
    config = UnitConfig(n=2, m=4)
    verilog = emit_with(
        monkeypatch, config, hw.comparators, "Const", lambda _, width: Const(0, width)
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


def test_rank(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One binomial of the combinatorial number system is wrong by one."""
    config = UnitConfig(n=2, m=4, unit="encoder", metadata="enumerative")
    bug = lambda m, n: comb(m, n) - (m == 3 and n == 2)  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.metadata.enumerative, "comb", bug)
    expect_failure(bench, config, verilog, "outputs differ")


@pytest.mark.parametrize("unit", ["encoder", "decoder"])
def test_serial_rank(unit: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One binomial of the serial search is wrong by one."""
    config = UnitConfig(n=2, m=4, unit=unit, metadata="enumerative", serial=True)
    bug = lambda m, n: comb(m, n) - (m == 3 and n == 2)  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.metadata.enumerative_serial, "comb", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_implied_bit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last lane is kept where one more of the others is."""
    config = UnitConfig(n=2, m=4, unit="decoder", metadata="bitmap-implied")
    bug = lambda m, name, bits, threshold: at_least(m, name, bits, threshold + 1)  # noqa: E731
    verilog = emit_with(monkeypatch, config, hw.metadata.bitmap_implied, "at_least", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_decompressor_lanes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values go to the lanes in reverse order."""
    config = UnitConfig(n=2, m=4, unit="decompressor")
    bug = lambda *arguments: scatter(*arguments)[::-1]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.units.decompressor, "scatter", bug)
    expect_failure(bench, config, verilog, "outputs differ")


@pytest.mark.parametrize("unit", ["packer", "unpacker"])
def test_token_goes_on(unit: str, bench: Bench) -> None:
    """The end of a token is forgotten, so that the next one starts in its last byte."""
    config = UnitConfig(n=2, m=4, unit=unit, dtype="int8")
    verilog, count = re.subn(r"(\w*ending) <= _\w+;", r"\1 <= 1'h0;", emit(config).verilog)
    assert count == 1
    expect_failure(bench, config, verilog, "outputs")


def test_split_streams_drift_apart(bench: Bench) -> None:
    """Groups enter the metadata while the values have no room."""
    config = UnitConfig(n=2, m=4, unit="packer", dtype="int8", layout="split", word=32)
    verilog, count = re.subn(
        r"assign (\w+) = i_valid & \w+;", r"assign \1 = i_valid;", emit(config).verilog, count=1
    )
    assert count == 1
    expect_failure(bench, config, verilog, "outputs")


@pytest.mark.parametrize("metadata", METADATA)
def test_illegal_code(metadata: str, bench: Bench) -> None:
    """The decoder lets illegal codes pass."""
    config = UnitConfig(n=2, m=4, unit="decoder", metadata=metadata, pipeline=0)
    verilog = re.sub(r"assign o_error = .*;", "assign o_error = 1'h0;", emit(config).verilog)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_misses_a_product(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")

    class Bug(SignedProduct):
        def terms(self, m: Module, name: str, first: Value, second: Value) -> list[Value]:
            first = Mux(name.endswith("1"), 0, first)[: len(first)]
            return super().terms(m, name, first, second)

    verilog = emit_with(monkeypatch, config, hw.dot_products.integer, "SignedProduct", Bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_takes_the_wrong_weight(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")
    bug = lambda *arguments: gather(*arguments)[::-1]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.weight_select, "gather", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_asks_for_the_wrong_weights(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes leave in the order of the slots, the lowest last."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", weight_select="gather")

    def bug(config: UnitConfig) -> list[Step]:
        turn = lambda _, bundle: {"index": bundle["index"][::-1]}  # noqa: E731 - one expression
        return [*read_index(config), Step(turn, {"index": 4})]

    verilog = emit_with(monkeypatch, config, hw.units.gathering_pe, "read_index", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_takes_weights_for_no_group(bench: Bench) -> None:
    """Weights are taken before there is a group that waits for them."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", weight_select="gather")
    verilog, count = re.subn(
        r"assign i_weights_ready = .*;", "assign i_weights_ready = 1'h1;", emit(config).verilog
    )
    assert count == 1
    expect_failure(bench, config, verilog, "outputs")


def test_pe_gives_values_to_other_lanes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a multiplier for every lane, values go to the lanes in reverse order."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", weight_select="dense-skip")
    bug = lambda *arguments: scatter(*arguments)[::-1]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.weight_select, "scatter", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_keeps_values_of_dropped_lanes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a multiplier for every lane, the first slot's lane counts as kept in all groups."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="bf16", weight_select="dense-skip")

    def bug(select: list[Value], n: int, m: int) -> list[Value]:
        return [Const(1, 1), *kept_lanes(select, n, m)[1:]]

    verilog = emit_with(monkeypatch, config, hw.weight_select, "kept_lanes", bug)
    expect_failure(bench, config, verilog, "outputs differ")


@pytest.mark.parametrize(
    ("n", "weights", "name"),
    [(4, (2, 4), "gather"), (2, (2, 4), "choose_where"), (2, (3, 13), "scatter")],
)
def test_pe_chooses_of_a_packed_side_wrongly(
    n: int,
    weights: tuple[int, int],
    name: str,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the slots of one side have found in the other one comes in reverse order."""
    config = UnitConfig(n=n, m=weights[1], unit="pe", dtype="int8", weights=weights)
    sound = getattr(hw.weight_select, name)
    bug = lambda *arguments: sound(*arguments)[::-1]  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.weight_select, name, bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_multiplies_with_a_dropped_weight(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other side has dropped is a 0 like another: infinity times it is NaN."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="fp8_e5m2", weights=(2, 4))
    bug = mutant(hw.weight_select, "mine & there[width].replicate(len(mine))", "mine")
    monkeypatch.setattr(hw.units.pe, "factor_steps", bug.factor_steps)
    verilog = emit(config).verilog
    monkeypatch.undo()
    expect_failure(bench, config, verilog, "outputs differ")


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize("ignored", ["values", "weights"])
def test_pe_ignores_an_illegal_code(
    ignored: str, metadata: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of one of two packed sides is not looked at."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", metadata=metadata, weights=(2, 4))
    old = 'bundle[f"{side}.error"][0] for side in sides'
    bug = mutant(hw.weight_select, old, f"{old} if side != {ignored!r}")
    monkeypatch.setattr(hw.units.pe, "factor_steps", bug.factor_steps)
    verilog = emit(config).verilog
    monkeypatch.undo()
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_never_starts_afresh(bench: Bench) -> None:
    """The accumulator goes on from the last reduction."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")
    verilog, count = re.subn(r"(assign \w+before) = .*;", r"\1 = o_sum;", emit(config).verilog)
    assert count == 1
    expect_failure(bench, config, verilog, "outputs differ")


def test_pe_wraps_instead_of_saturating(bench: Bench) -> None:
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", acc_width=15, overflow="saturate")
    wrapping = UnitConfig(n=2, m=4, unit="pe", dtype="int8", acc_width=15)
    expect_failure(bench, config, emit(wrapping).verilog, "outputs differ")


@pytest.mark.parametrize("pipeline", [1, 2])
def test_pe_forgets_a_sign(pipeline: int, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The constant that stands for the signs of the products lacks that of one digit."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", pipeline=pipeline)

    def bug(places: Sequence[int], *, width: int, constant: int = 0) -> ColumnSum:
        return ColumnSum(places, width=width, constant=constant + (1 << 8) if constant else 0)

    verilog = emit_with(monkeypatch, config, hw.dot_products.integer, "ColumnSum", bug)
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


def test_swapped_patterns(bench: Bench) -> None:
    """Two patterns of a flexible selector have each other's number."""
    config = UnitConfig(flexible=((1, 4), (4, 8)), unit="selector", dtype="int4")
    swapped = UnitConfig(flexible=((4, 8), (1, 4)), unit="selector", dtype="int4")
    expect_failure(bench, config, emit(swapped).verilog, "outputs differ")


def test_pattern_that_does_not_exist(bench: Bench) -> None:
    """A number that no pattern has keeps lanes as another pattern would."""
    config = UnitConfig(flexible=((1, 4), (2, 4), (3, 4)), unit="selector", dtype="int4")
    longer = UnitConfig(flexible=((1, 4), (2, 4), (3, 4), (4, 4)), unit="selector", dtype="int4")
    expect_failure(bench, config, emit(longer).verilog, "outputs differ")


def test_index_of_another_pattern(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask is right, its list is that of another pattern."""
    config = UnitConfig(flexible=((1, 4), (4, 8)), dtype="int4", metadata="index")
    index = run_time_index

    def bug(*, patterns: Any, **options: Any) -> Step:
        return index(patterns=patterns[::-1], **options)

    verilog = emit_with(monkeypatch, config, hw.metadata, "run_time_index", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_n_beyond_m(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More lanes than there are: all are kept, not none."""
    config = UnitConfig(n=2, m=5, unit="selector", n_runtime=True, dtype="int4")
    bug = lambda _condition, _none, n: n  # noqa: E731 - one expression
    verilog = emit_with(monkeypatch, config, hw.selectors.run_time, "Mux", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_n_is_fixed(bench: Bench) -> None:
    """What the port says is not looked at."""
    config = UnitConfig(n=2, m=4, unit="selector", n_runtime=True, dtype="int4")
    verilog = emit(config).verilog
    # Uses, not declarations.
    verilog = re.sub(r"(?<=[=?:(&|^~<>] )i_n\b", "3'h2", verilog)
    expect_failure(bench, config, verilog, "outputs differ")


def test_score_bits(bench: Bench) -> None:
    """One bit too many is compared."""
    config = UnitConfig(n=2, m=4, unit="selector", score_bits=5)
    finer = UnitConfig(n=2, m=4, unit="selector", score_bits=6)
    expect_failure(bench, config, emit(finer).verilog, "outputs differ")


def test_queue_loses_a_result(bench: Bench) -> None:
    """What arrives while the output stalls is not put into the queue."""
    config = UnitConfig(n=8, m=16, unit="selector", selector="compare_matrix", pipeline=3)
    verilog = re.sub(r"(assign \S*queue_push) = .*;", r"\1 = 1'h0;", emit(config).verilog)
    expect_failure(bench, config, verilog, "outputs|changed before")


def test_serial_selector_misses_a_bit(bench: Bench) -> None:
    """The mask is said to be there before the last bit has been looked at."""
    config = UnitConfig(n=2, m=4, unit="selector", selector="threshold_serial", dtype="int4")
    verilog = re.sub(r"(\w+_done \| \w+_now)5;", r"\g<1>4;", emit(config).verilog)
    expect_failure(bench, config, verilog, "outputs differ")
