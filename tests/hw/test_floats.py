"""Arithmetic of floating-point numbers against the golden models."""

import random
import re
from functools import cache, partial

import numpy as np
import pytest
import torch
from amaranth.hdl import Const, Module, Value

import hw.floats.add
from hw.comparators import majority_not_less
from hw.floats import add_steps, integer_to_float_steps, multiply_steps
from hw.floats.alignment import align
from hw.formats import FORMATS, FP32, NumberFormat
from hw.normalize import normalize
from sw.float_arithmetic import add, integer_to_float, multiply
from tests.hw.gates import Run, counted
from tests.hw.steps import StepRunner, check_widths
from tests.sw.exact_floats import FLOATS, pairs

pytest.importorskip("pyosys")

STEPS = {
    "add": add_steps,
    "subtract": partial(add_steps, subtract=True),
    "multiply": multiply_steps,
}
MODELS = {"add": add, "subtract": partial(add, subtract=True), "multiply": multiply}

FP8 = [FLOATS["fp8_e4m3"], FLOATS["fp8_e5m2"]]
WIDE = [FLOATS["fp16"], FLOATS["bf16"], FP32]
OPERATIONS = list(STEPS)
#: Operations, and register stages; a difference is but a sum behind registers.
CASES = [("add", 0), ("subtract", 0), ("multiply", 0), ("add", 3), ("multiply", 3)]


def name_of(f: NumberFormat) -> str:
    return f.name


@cache
def runner(operation: str, f: NumberFormat, *, count: int = 1, stages: int = 0) -> StepRunner:
    """Of `count` lanes that have the second operand in common."""
    steps = STEPS[operation](f, operands=("a", "b"), result="c", count=count)
    return StepRunner(
        steps, {"a": (count, f.width), "b": (1, f.width)}, {"c": (count, f.width)}, stages
    )


def expected(operation: str, f: NumberFormat, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return MODELS[operation](torch.tensor(a), torch.tensor(b), f).numpy()


def all_pairs(f: NumberFormat) -> tuple[np.ndarray, np.ndarray]:
    codes = np.arange(1 << 2 * f.width)[:, None]
    return codes & ((1 << f.width) - 1), codes >> f.width


def some_pairs(f: NumberFormat, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    grid = np.array(pairs(f, count, seed))
    return grid[:, :1], grid[:, 1:]


@pytest.mark.parametrize(("operation", "stages"), CASES)
@pytest.mark.parametrize("f", FP8, ids=name_of)
def test_all_pairs_of_eight_bits(f, stages, operation):
    a, b = all_pairs(f)
    made = runner(operation, f, stages=stages)(a=a, b=b)["c"]
    assert np.array_equal(made, expected(operation, f, a, b))


@pytest.mark.parametrize(("operation", "stages"), CASES)
@pytest.mark.parametrize("f", WIDE, ids=name_of)
def test_corners_and_random_pairs(f, stages, operation):
    a, b = some_pairs(f, 10_000, seed=stages)
    made = runner(operation, f, stages=stages)(a=a, b=b)["c"]
    assert np.array_equal(made, expected(operation, f, a, b))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("f", [FLOATS["bf16"], FLOATS["fp8_e4m3"]], ids=name_of)
def test_one_operand_for_all_lanes(f, operation):
    a, b = some_pairs(f, 1000, seed=5)
    lanes = np.concatenate([a, np.roll(a, 1), np.roll(a, 7)], axis=1)
    made = runner(operation, f, count=3)(a=lanes, b=b)["c"]
    assert np.array_equal(made, expected(operation, f, lanes, b))


@pytest.mark.parametrize("operation", ["add", "multiply"])
@pytest.mark.parametrize("f", FP8, ids=name_of)
def test_a_wrong_gate_is_seen(f, operation):
    gates = runner(operation, f).gates
    planes = counted(2 * f.width)

    def result() -> list[int]:
        run = Run(gates, 1 << 2 * f.width)
        run.settle(i__valid=1, o__ready=1, i__payload=planes)
        return run["o__payload"]

    sound = result()
    unseen = [gate for gate in gates.inverted() if result() == sound]
    # In the multiplier some high bits of exponents mean nothing where the operands are so small.
    limit = len(gates.order) // 40 if operation == "multiply" else 0
    assert len(unseen) <= limit, unseen


def without_sticky(m: Module, name: str, number: Value, distance: Value) -> tuple[Value, Value]:
    return align(m, name, number, distance)[0], Const(0, 1)


def without_limit(
    m: Module,
    name: str,
    number: Value,
    limit: Value | None = None,  # noqa: ARG001
) -> tuple[Value, Value]:
    return normalize(m, name, number)


def first_of_equals(
    m: Module,
    name: str,
    first: Value,
    second: Value,
    if_equal: Value,  # noqa: ARG001
) -> Value:
    return majority_not_less(m, name, first, second)


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("_GUARD_BITS", 1),
        ("align", without_sticky),
        ("normalize", without_limit),
        ("majority_not_less", first_of_equals),
    ],
)
@pytest.mark.parametrize("f", [FLOATS["bf16"], FLOATS["fp8_e4m3"]], ids=name_of)
def test_a_mistake_is_found(f, name, mistake, monkeypatch):
    monkeypatch.setattr(hw.floats.add, name, mistake)
    a, b = some_pairs(f, 1000, seed=6)
    size = (1, f.width)
    wrong = StepRunner(add_steps(f, count=1), {"a": size, "b": size}, {"sum": size})
    assert not np.array_equal(wrong(a=a, b=b)["sum"], expected("add", f, a, b))


INTEGERS = [
    (2, FP32), (8, FP32), (24, FP32), (25, FP32), (32, FP32), (48, FP32),
    (20, FLOATS["fp16"]), (9, FLOATS["bf16"]), (32, FLOATS["fp8_e5m2"]),
]  # fmt: skip


@pytest.mark.parametrize(("width", "f"), INTEGERS)
def test_integers(width, f):
    rng = random.Random(width)
    top = 1 << (width - 1)
    numbers = [-top, top - 1, 0, 1, -1, *(1 << bit for bit in range(width - 1))]
    # Of all lengths, and such that end in a half of the last place.
    for _ in range(1000):
        bits = rng.randrange(width)
        number = rng.getrandbits(bits + 1) | 1 << bits
        dropped = max(bits - f.mantissa_width - 1, 0)
        number = rng.choice([number, number >> dropped << dropped])
        numbers.append((number + top) % (2 * top) - top)
    run = StepRunner(
        integer_to_float_steps(width, f, count=1),
        {"integer": (1, width)},
        {"number": (1, f.width)},
        stages=width % 3,
    )
    made = run(integer=np.array(numbers)[:, None] % (2 * top))["number"][:, 0]
    assert made.tolist() == integer_to_float(torch.tensor(numbers), f).tolist()
    assert made.tolist() != integer_to_float(torch.tensor(numbers) + 1, f).tolist()


def test_operations_behind_each_other():
    """``a * b + a - (float)i``, the operands kept as long as they are needed."""
    f = FP32
    steps = [
        *multiply_steps(f, result="p", count=2, keep=("a",)),
        *integer_to_float_steps(16, f, operand="i", result="n", count=2),
        *add_steps(f, operands=("p", "a"), result="s", count=2),
        *add_steps(f, operands=("s", "n"), result="r", count=2, subtract=True),
    ]
    sizes = {"a": (2, 32), "b": (1, 32), "i": (2, 16)}
    a, b = some_pairs(f, 1000, seed=8)
    a = np.concatenate([a, np.roll(a, 1)], axis=1)
    i = np.random.default_rng(1).integers(0, 1 << 16, a.shape)
    made = StepRunner(steps, sizes, {"r": (2, 32)}, stages=2)(a=a, b=b, i=i)["r"]
    codes, other = torch.tensor(a), torch.tensor(b)
    number = integer_to_float(torch.tensor(np.where(i >> 15, i - (1 << 16), i)), f)
    total = add(multiply(codes, other, f), codes, f)
    assert np.array_equal(made, add(total, number, f, subtract=True).numpy())
    assert not np.array_equal(made, total.numpy())


@pytest.mark.parametrize("keep", [(), ("a",), ("b",), ("a", "b")])
@pytest.mark.parametrize("steps", [add_steps, multiply_steps])
@pytest.mark.parametrize("f", [FP32, FLOATS["fp8_e4m3"]], ids=name_of)
def test_widths_are_as_said(f, steps, keep):
    sizes = {"a": (3, f.width), "b": (1, f.width)}
    alive = check_widths(steps(f, result="c", count=3, keep=keep), sizes)
    kept = {name: count * width for name, (count, width) in sizes.items() if name in keep}
    assert alive == {"c": 3 * f.width, **kept}


@pytest.mark.parametrize("keep", [(), ("integer",)])
@pytest.mark.parametrize(("width", "f"), INTEGERS)
def test_widths_of_integers_are_as_said(width, f, keep):
    steps = integer_to_float_steps(width, f, count=2, keep=keep)
    alive = check_widths(steps, {"integer": (2, width)})
    assert alive == {"number": 2 * f.width} | dict.fromkeys(keep, 2 * width)


def test_formats_that_are_none():
    for steps in (add_steps, multiply_steps):
        with pytest.raises(ValueError, match=r"^number format must be a float format, not int8$"):
            steps(FORMATS["int8"], count=1)
    for name in ("int8", "fp8_e4m3"):
        expected = f"number format must be a float format with infinity, not {name}"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            integer_to_float_steps(8, FORMATS[name], count=1)
