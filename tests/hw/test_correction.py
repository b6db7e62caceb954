"""The correction unit's worker against the golden model, thousands of tokens at once."""

import types
from itertools import pairwise

import numpy as np
import pytest
import torch
from amaranth.back import verilog

import hw.correction_plan
import hw.floats.normal
import hw.floats.recurrence
import hw.units.correction
from hw.config import UnitConfig
from hw.correction_plan import PLAN, CorrectionPlan
from hw.ports import input_payload
from sim.token_stimuli import correction_stimuli
from sw.golden import unit_model
from tests.hw.gates import Gates, Run, from_planes, to_planes
from tests.mutant import mutant

pytest.importorskip("pyosys")

KINDS = ("random", "ties", "corners")


def config_of(dtype: str) -> UnitConfig:
    return UnitConfig(n=8, m=16, unit="correction", dtype=dtype)


def gates_of(
    config: UnitConfig,
    plan: CorrectionPlan = PLAN,
    module: types.ModuleType = hw.units.correction,
) -> Gates:
    worker = module.CorrectionWorker(config, plan)
    text = verilog.convert(worker, name="worker", emit_src=False, strip_internal_attrs=True)
    return Gates(text, "worker")


def tokens_of(config: UnitConfig, count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    kinds = [correction_stimuli(config, kind, count, generator, None) for kind in KINDS]
    if config.format.kind == "float":
        kinds.append(_at_the_end_of_the_range(count // 10, generator))
    return {name: torch.cat([kind[name] for kind in kinds]) for name in kinds[0]}


def _at_the_end_of_the_range(count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Squares that times C are from 2**127 to 2**130, less an infinite square of a sum."""
    features = torch.randint(1 << 16, 1 << 17, (count, 1), generator=generator)
    # From 2**111 to 2**113.
    squares = torch.randint(0x77000000, 0x78000000, (count, 1), generator=generator)
    total = torch.full_like(squares, 0x7F000000)
    one = torch.full_like(squares, 0x3F800000)
    return {
        "sum": total, "squares": squares, "kept_sum": one, "kept_squares": one,
        "features": features,
    }  # fmt: skip


def run(
    gates: Gates, config: UnitConfig, plan: CorrectionPlan, tokens: dict[str, torch.Tensor]
) -> list[dict[str, np.ndarray]]:
    """Results of all tokens after exactly the cycles of the plan, then of all in reverse order."""
    count = len(tokens["sum"])
    bench = Run(gates, count)
    bench.settle(clk=0, rst=1, run=0, release=0, **dict.fromkeys(input_payload(config), 0))
    bench.clock()
    bench.settle(rst=0)
    results = []
    for order in (slice(None), slice(None, None, -1)):
        planes = {
            name: to_planes(tokens[name].numpy()[order], field.width)
            for name, field in input_payload(config).items()
        }
        # From the second time on the edge before was the one with `release`.
        bench.settle(run=1, release=0, **planes)
        for _ in range(plan.cycles):
            assert not bench.bit("done")
            bench.clock()
            bench.settle()
        # It waits until the results are taken.
        for _ in range(2):
            assert bench.bit("done")
            bench.clock()
            bench.settle()
        result = {}
        for name in ("ratio", "mean"):
            bits = from_planes(bench[name], count).astype(np.int64)
            result[name] = (bits @ (1 << np.arange(32)))[order]
        results.append(result)
        bench.settle(release=1)
        bench.clock()
    return results


def check(
    dtype: str,
    plan: CorrectionPlan = PLAN,
    module: types.ModuleType = hw.units.correction,
    count: int = 1000,
) -> None:
    config = config_of(dtype)
    tokens = tokens_of(config, count)
    expected = {name: codes.numpy()[:, 0] for name, codes in unit_model(config)(tokens).items()}
    for found in run(gates_of(config, plan, module), config, plan, tokens):
        for name, codes in expected.items():
            wrong = np.flatnonzero(found[name] != codes)
            shown = [(name, k, hex(found[name][k]), hex(codes[k])) for k in wrong[:5]]
            assert not len(wrong), shown


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_results(dtype: str) -> None:
    check(dtype)


def test_stimuli_reach_what_they_are_for() -> None:
    config = config_of("bf16")
    results = unit_model(config)(tokens_of(config, 1000))
    for codes in results.values():
        magnitudes = codes & 0x7FFFFFFF
        for few in (magnitudes > 0x7F800000, magnitudes == 0x7F800000, magnitudes == 0):
            assert 10 < int(few.sum()) < len(codes) // 2
    mean = results["mean"] & 0x7FFFFFFF
    assert int(((mean > 0) & (mean < 0x00800000)).sum()) > 10


@pytest.mark.parametrize(
    ("dtype", "plan"),
    [
        ("bf16", CorrectionPlan(5, 3)),
        ("int8", CorrectionPlan(24, 1)),
    ],
    ids=str,
)
def test_other_plans(dtype: str, plan: CorrectionPlan) -> None:
    check(dtype, plan, count=300)


@pytest.mark.parametrize(
    ("digit_width", "bits_per_cycle", "digits", "count_digits", "division_cycles"),
    [(6, 2, 4, 3, 13), (5, 3, 5, 4, 9), (24, 1, 1, 1, 26), (2, 4, 12, 9, 7)],
)
def test_cycles_of_a_plan(
    digit_width: int, bits_per_cycle: int, digits: int, count_digits: int, division_cycles: int
) -> None:
    plan = CorrectionPlan(digit_width, bits_per_cycle)
    assert plan.digits == digits
    assert plan.count_digits == count_digits
    assert plan.division_cycles == division_cycles
    # One thing at a time: each of the parts that are shared, and each register.
    for prefix in ("take_", "multiply_", "subtract_", "digit_"):
        cycles = [c for name, own in plan.controls.items() if name.startswith(prefix) for c in own]
        assert len(cycles) == len(set(cycles)), prefix
    assert not set(plan.controls["round_taken"]) & set(plan.controls["round_product"])
    assert len(plan.controls["divide"]) == 3
    # A division is over before the next one begins.
    starts = plan.controls["divide"]
    assert all(later - start > division_cycles for start, later in pairwise(starts))
    assert plan.cycles == starts[-1] + 1 + division_cycles


def test_the_plan_of_the_unit() -> None:
    assert (PLAN.digit_width, PLAN.bits_per_cycle) == (6, 2)
    assert config_of("bf16").initiation_interval == PLAN.cycles + 1 <= 64


UNIT_BUGS = {
    "floor of 2 activations": ("self.features == 1, 1,", "self.features == 2, 2,"),
    "subnormal mean": ("aligned[-_SIZE:] if self._is_float", "other.significand if True"),
    "negative squares": ("product.infinite & ~other.infinite & ~is_negative", "product.infinite"),
    "odd exponent of a root": ("& ~new.exponent[0]", "& new.exponent[0]"),
    "sticky of a quotient": ("raw.sticky | remainder.any()", "raw.sticky"),
    "infinite divisor": ("Mux(divisor.infinite, _LEAST, exponent)", "exponent"),
    "NaN of two infinities": ("(found.infinite & divisor.infinite)", "0"),
    "sticky of a product": ("before[:width].any() | ", ""),
}


@pytest.mark.parametrize("bug", UNIT_BUGS)
def test_bugs_are_found(bug: str) -> None:
    with pytest.raises(AssertionError):
        check("bf16", module=mutant(hw.units.correction, *UNIT_BUGS[bug]), count=300)


@pytest.mark.parametrize(
    ("module", "name", "old", "new"),
    [
        (hw.floats.normal, "round_to_normal", "(is_odd | is_more)", "is_more"),
        (hw.floats.normal, "round_to_normal", "(top | carry) &", "0 &"),
        (hw.floats.recurrence, "Recurrence", "trial & ~places[number]", "trial"),
    ],
)
def test_bugs_of_its_parts_are_found(
    module: types.ModuleType, name: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hw.units.correction, name, getattr(mutant(module, old, new), name))
    with pytest.raises(AssertionError):
        check("bf16", count=300)
