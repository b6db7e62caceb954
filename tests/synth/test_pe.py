"""The study of the PE, with made-up tools."""

import json

import pytest

from tests.synth.tiny_study import Tools, refused

pytestmark = pytest.mark.usefixtures("committed")

TINY = "--dtypes int4,int8 --sides activations --weight-selects mux,gather --codes bitmap"
TINY += " --patterns 2:4,1:2 --float-patterns 1:2"
COMMAND = f"python -m synth.report pe {TINY} --liberty delays.lib"


class PeTools(Tools):
    """A multiplier has an area of 100 times its bits, a check 10, a buffer 48."""

    @staticmethod
    def key(config):
        if config is None:
            return "buffer"
        return config.dtype, config.n, config.m, config.weight_select, config.check

    @staticmethod
    def sequential(config):  # noqa: ARG004 - all have the same
        return 30.0

    def cost(self, design, flow):
        assert flow == "plain"
        config = design.config
        if config is None:
            return 48.0, 1.0
        area = 100.0 * config.multiplier_count * config.format.width + 10 * config.check
        area += 48 * (config.weight_select == "gather")
        # Half the multipliers are a little faster, a choice is far slower.
        is_dense = config.n == config.m
        return area, 4.0 if is_dense else 3.6 if config.weight_select == "gather" else 4.8


@pytest.fixture
def tools(use_tools):
    return use_tools(PeTools())


@pytest.fixture
def run(run_study, tools):  # noqa: ARG001 - in their places
    def run(*more, status=0):
        return run_study("pe", *TINY.split(), *more, status=status)

    return run


def table(lines):
    """The rows of the table, words parted by single spaces."""
    lines = (" ".join(line.split()) for line in lines)
    return [line for line in lines if line.startswith(("int", "bf16"))]


def test_table(run):
    packed = "activations"
    assert table(run())[:5] == [
        # The delay is a fifth above the dense one, too far for the areas to be compared.
        "int4 4:4 dense - - off 1,600.0 1,600.0 1,600.0 30.0 4.000 1.000 1.000 - -",
        f"int4 2:4 {packed} mux bitmap on 810.0 810.0 810.0 30.0 4.800 0.506 1.200 far - -",
        f"int4 2:4 {packed} mux bitmap off 800.0 800.0 800.0 30.0 4.800 0.500 1.200 far - -",
        # A buffer is 0.03 of the dense one.
        f"int4 2:4 {packed} gather bitmap on 858.0 858.0 858.0 30.0 3.600 0.536 0.900 48.0 0.506",
        f"int4 2:4 {packed} gather bitmap off 848.0 848.0 848.0 30.0 3.600 0.530 0.900 48.0 0.500",
    ]


def test_json(run, out):
    run()
    content = json.loads((out / "pe.json").read_text())
    assert content["context"]["command"] == COMMAND
    rows = {
        (row["parameters"]["dtype"], row["parameters"]["n"], row["parameters"]["check"]): row
        for row in content["rows"]
        if row["parameters"].get("weight_select") == "gather"
    }
    assert rows["int8", 2, False]["of_dense"] == 0.515
    assert rows["int8", 2, False]["delay_of_dense"] == 0.9
    assert rows["int8", 2, False]["buffer"] == 48
    assert rows["int8", 2, False]["of_dense_without_buffer"] == 0.5
    # Values of 2 of 4 and 1 of 2, 4 and 8 bits each, an error and an end.
    buffers = [row["name"] for row in content["rows"] if not row["parameters"]]
    assert buffers == ["buffer_4x10", "buffer_4x6", "buffer_4x18"]


def test_packed_weights(run_study, tools):  # noqa: ARG001 - in their places
    """Floats have patterns of their own; with packed weights one side has the multipliers."""
    words = "--dtypes int8,bf16 --sides weights,both --codes index --patterns 2:4"
    lines = table(run_study("pe", *words.split(), "--float-patterns", "1:2"))
    assert [line.split()[:7] for line in lines] == [
        ["int8", "4:4", "dense", "-", "-", "off", "3,200.0"],
        ["int8", "2:4", "weights", "mux", "index", "on", "1,610.0"],
        ["int8", "2:4", "weights", "mux", "index", "off", "1,600.0"],
        ["int8", "2:4", "both", "mux", "index", "on", "1,610.0"],
        ["int8", "2:4", "both", "mux", "index", "off", "1,600.0"],
        ["bf16", "2:2", "dense", "-", "-", "off", "3,200.0"],
        ["bf16", "1:2", "weights", "mux", "index", "on", "1,610.0"],
        ["bf16", "1:2", "weights", "mux", "index", "off", "1,600.0"],
        ["bf16", "1:2", "both", "mux", "index", "on", "1,610.0"],
        ["bf16", "1:2", "both", "mux", "index", "off", "1,600.0"],
    ]


def test_every_dense_pe_is_measured_once(run, tools):
    run()
    units = [key for key in tools.measured if key != "buffer"]
    dense = [key for key in units if key[1] == key[2]]
    assert sorted(dense) == [
        ("int4", 2, 2, "mux", False),
        ("int4", 4, 4, "mux", False),
        ("int8", 2, 2, "mux", False),
        ("int8", 4, 4, "mux", False),
    ]
    assert len(units) == len(set(units)) == 4 + 2 * 2 * 2 * 2
    assert len(tools.measured) - len(units) == 3


def test_without_the_dense_one_there_is_no_share(run, tools):
    tools.failures["int4", 4, 4, "mux", False] = ValueError("broken")
    lines = table(run(status=1))
    assert lines[0].endswith("- - failed: broken")
    assert lines[1].endswith("4.800 - - - -")
    assert lines[3].endswith("3.600 - - 48.0 -")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dtypes", "int4,fp32"],
            "argument --dtypes: must be a list such as int4,int8 of int4, int8, int16, fp16, bf16, "
            "fp8_e4m3, fp8_e5m2, not 'int4,fp32'",
        ),
        (
            ["--weight-selects", "tree"],
            "argument --weight-selects: must be a list such as mux,gather of mux, gather, "
            "dense-skip, not 'tree'",
        ),
        (["--patterns", "5:4"], "argument --patterns: n must be between 1 and m = 4, not 5"),
        ([], "argument --liberty: must be given: a library with delays"),
    ],
)
def test_refused(arguments, message, capsys):
    more = ["--liberty", "none.lib"] if "--patterns" in arguments else []
    assert refused(capsys, "pe", *arguments, *more) == message
