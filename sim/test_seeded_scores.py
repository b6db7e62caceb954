"""Bugs in scores, shifts, residuals and statistics, which the benches must find."""

import re
from functools import partial

import pytest
from amaranth.hdl import Cat, Const, Module, Value

import hw.aligned_sum
import hw.scores
import hw.shift
import hw.units.sparsifier
from hw.comparators import majority_not_less
from hw.config import UnitConfig
from hw.emit import emit
from hw.floats import add_steps
from hw.normalize import normalize
from hw.slots import gather
from sim.seeded import Bench, emit_with, expect_failure

pytestmark = pytest.mark.slow


def scaled(**options: object) -> UnitConfig:
    options = {"n": 2, "m": 4, "unit": "selector", "criterion": "scaled", **options}
    return UnitConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("lane", range(4))
def test_scale_of_another_lane(lane: int, bench: Bench) -> None:
    config = scaled(dtype="int8")
    swapped = {8 * lane: 8 * (lane ^ 1), 8 * (lane ^ 1): 8 * lane}

    def other(match: re.Match[str]) -> str:
        low = swapped.get(int(match[1]), int(match[1]))
        return f"i_scale[{low + 7}:{low}]"

    verilog = re.sub(r"i_scale\[\d+:(\d+)\]", other, emit(config).verilog)
    expect_failure(bench, config, verilog, "outputs differ")


def test_product_is_not_normalized(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leading zeros are counted but not shifted out."""
    config = scaled(dtype="fp8_e4m3")

    def bug(m: Module, name: str, number: Value) -> tuple[Value, Value]:
        aligned, zeros = normalize(m, name, number)
        return Cat(number[:-1], aligned[-1]), zeros

    verilog = emit_with(monkeypatch, config, hw.scores, "normalize", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_infinity_is_scaled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Infinity counts as the number that its bits would be."""
    config = scaled(dtype="fp8_e5m2", scale_format="pow2")
    verilog = emit_with(
        monkeypatch, config, hw.scores, "_class", lambda *_: [Const(0, 1), Const(0, 1)]
    )
    expect_failure(bench, config, verilog, "outputs differ")


def test_score_has_a_bit_too_many(bench: Bench) -> None:
    config, finer = scaled(score_bits=12), scaled(score_bits=13)
    expect_failure(bench, config, emit(finer).verilog, "outputs differ")


def test_shift_is_added(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = UnitConfig(n=2, m=4, dtype="fp8_e5m2", shift="token")

    def bug(*arguments: object, subtract: bool, **options: object) -> object:  # noqa: ARG001
        return partial(add_steps, *arguments, **options)()  # type: ignore[arg-type]

    verilog = emit_with(monkeypatch, config, hw.shift, "add_steps", bug)
    expect_failure(bench, config, verilog, "outputs differ")


def test_shift_of_another_lane(bench: Bench) -> None:
    """The shift of lane 0 for all lanes."""
    config = UnitConfig(n=2, m=4, dtype="int8", shift="lane")
    verilog = re.sub(r"i_shift\[\d+:\d+\]", "i_shift[7:0]", emit(config).verilog)
    expect_failure(bench, config, verilog, "outputs differ")


def test_residual_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped values leave in descending lane order."""
    config = UnitConfig(n=1, m=3, residual=True)

    def bug(select: list[Value], elements: list[Value], n: int) -> list[Value]:
        values = gather(select, elements, n)
        return values[::-1] if n == config.residual_slots else values

    verilog = emit_with(monkeypatch, config, hw.units.sparsifier, "gather", bug)
    expect_failure(bench, config, verilog, "outputs differ")


STATISTICS = UnitConfig(n=2, m=4, unit="statistics", dtype="fp8_e4m3", align_bits=8)


def test_largest_exponent_is_the_smallest(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accumulator takes the smaller one of two exponents."""

    def bug(m: Module, name: str, first: Value, second: Value) -> Value:
        verdict = majority_not_less(m, name, first, second)
        return ~verdict if name.startswith("all_squares") else verdict

    verilog = emit_with(monkeypatch, STATISTICS, hw.aligned_sum, "majority_not_less", bug)
    expect_failure(bench, STATISTICS, verilog, "outputs differ")


def test_token_does_not_start_anew(bench: Bench) -> None:
    """The sums go on through the next token."""
    verilog = re.sub(r"(fresh <= )\S*last;", r"\g<1>1'h0;", emit(STATISTICS).verilog)
    expect_failure(bench, STATISTICS, verilog, "outputs differ")


def test_mask_is_ignored(bench: Bench) -> None:
    """Everything is kept."""
    verilog = re.sub(r"\bi_mask\[(\d+)\]", "1'h1", emit(STATISTICS).verilog)
    expect_failure(bench, STATISTICS, verilog, "outputs differ")
