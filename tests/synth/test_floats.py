import re

import numpy as np
import pytest
import torch

from hw.formats import FORMATS
from sw.float_arithmetic import add, integer_to_float, multiply
from synth.floats import OPERATIONS, float_design, main
from tests.hw.gates import Gates, Run, from_planes, to_planes

pytest.importorskip("pyosys")

FORMAT = FORMATS["fp8_e5m2"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_design_is_the_operation(operation):
    design = float_design(operation, FORMAT, 2)
    assert design.top == f"{operation}_fp8_e5m2_2"
    rng = np.random.default_rng(1)
    width = 32 if operation == "integer" else 8
    a = rng.integers(0, 1 << width, (500, 2))
    b = rng.integers(0, 256, (500, 1))
    run = Run(Gates(design.verilog, design.top), 500)
    planes = to_planes(a, width) + ([] if operation == "integer" else to_planes(b, 8))
    run.settle(i__valid=1, o__ready=1, i__payload=planes)
    made = from_planes(run["o__payload"], 500).reshape(500, 2, 8) @ (1 << np.arange(8))
    x, y = torch.tensor(a), torch.tensor(b)
    expected = {
        "add": lambda: add(x, y, FORMAT),
        "subtract": lambda: add(x, y, FORMAT, subtract=True),
        "multiply": lambda: multiply(x, y, FORMAT),
        "integer": lambda: integer_to_float(x - ((x >> 31) << 32), FORMAT),
    }[operation]()
    assert np.array_equal(made, expected.numpy())


def test_lanes_share_the_second_operand():
    design = float_design("add", FORMAT, 3)
    assert len(Gates(design.verilog, design.top).inputs["i__payload"]) == 4 * 8


def test_table(capsys):
    main(["--formats", "fp8_e4m3,fp8_e5m2", "--operations", "integer,add", "--lanes", "1"])
    lines = capsys.readouterr().out.splitlines()
    # There is no integer that becomes infinity in fp8_e4m3, which has none.
    assert [line.split()[:2] for line in lines[2:-1]] == [
        ["integer", "fp8_e5m2"],
        ["add", "fp8_e4m3"],
        ["add", "fp8_e5m2"],
    ]
    for line in lines[2:-1]:
        whole, each = line.split()[2:4]
        assert int(whole.replace(",", "")) == int(each.replace(",", "")) > 100
        # The project's own library has no delays.
        assert line.split()[4] == "-"
    sources = r"yosys \S+ \(pyosys\), nmsparse_generic, no delays"
    assert re.fullmatch(f"1 lanes; flow bounded; {sources}", lines[-1])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--formats", "int8"],
            "--formats: must be a list such as fp16,bf16 of formats, not 'int8'",
        ),
        (
            ["--operations", "divide"],
            "--operations: must be a list such as add,subtract of operations, not 'divide'",
        ),
        (["--lanes", "0"], "--lanes: must be a whole number of at least 1, not '0'"),
    ],
)
def test_wrong_arguments(arguments, expected, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    message = f"python -m synth.floats: error: argument {expected}\n"
    assert capsys.readouterr() == ("", message)
