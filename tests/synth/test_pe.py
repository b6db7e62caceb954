"""The study of the PE, with made-up tools."""

import json

import pytest

from tests.synth.tiny_study import Tools, refused

pytestmark = pytest.mark.usefixtures("committed")

TINY = "--dtypes int4,int8 --weight-selects mux,gather --codes bitmap --patterns 2:4,1:2"
COMMAND = f"python -m synth.report pe {TINY} --liberty delays.lib"


class PeTools(Tools):
    """A multiplier has an area of 100 times its bits, a check 10, a buffer 48."""

    @staticmethod
    def key(config):
        return config.dtype, config.n, config.m, config.weight_select, config.check

    @staticmethod
    def sequential(config):  # noqa: ARG004 - all have the same
        return 30.0

    def cost(self, design, flow):
        assert flow == "plain"
        config = design.config
        area = 100.0 * config.n * config.format.width + 10 * config.check
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
    return [" ".join(line.split()) for line in lines if line.startswith("int")]


def test_table(run):
    assert table(run())[:5] == [
        # The delay is a fifth above the dense one, too far for the areas to be compared.
        "int4 4:4 dense - off 1,600.0 1,600.0 1,600.0 30.0 4.000 1.000 1.000",
        "int4 2:4 mux bitmap on 810.0 810.0 810.0 30.0 4.800 0.506 1.200 far",
        "int4 2:4 mux bitmap off 800.0 800.0 800.0 30.0 4.800 0.500 1.200 far",
        "int4 2:4 gather bitmap on 858.0 858.0 858.0 30.0 3.600 0.536 0.900",
        "int4 2:4 gather bitmap off 848.0 848.0 848.0 30.0 3.600 0.530 0.900",
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


def test_every_dense_pe_is_measured_once(run, tools):
    run()
    dense = [key for key in tools.measured if key[1] == key[2]]
    assert sorted(dense) == [
        ("int4", 2, 2, "mux", False),
        ("int4", 4, 4, "mux", False),
        ("int8", 2, 2, "mux", False),
        ("int8", 4, 4, "mux", False),
    ]
    assert len(tools.measured) == len(set(tools.measured)) == 4 + 2 * 2 * 2 * 2


def test_without_the_dense_one_there_is_no_share(run, tools):
    tools.failures["int4", 4, 4, "mux", False] = ValueError("broken")
    lines = table(run(status=1))
    assert lines[0].endswith("- - failed: broken")
    assert lines[1].endswith("4.800 - -")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dtypes", "int4,bf16"],
            "argument --dtypes: must be a list such as int4,int8 of int4, int8, int16, not "
            "'int4,bf16'",
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
