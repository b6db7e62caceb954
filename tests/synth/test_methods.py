"""The study of the methods of sparsity, with made-up tools."""

import json
from math import exp
from pathlib import Path

import pytest

from hw.config import UnitConfig
from sw.evaluate import BASELINE, Evaluation, Measured, read_evaluation
from sw.method import Method
from sw.perplexity import Likelihood
from synth.method_units import is_built, units_of
from synth.process import SynthesisError
from tests.synth.test_codes import section
from tests.synth.tiny_study import Tools, refused

pytestmark = pytest.mark.usefixtures("committed")

DOCS = Path(__file__).parents[2] / "docs"

#: The committed results themselves.
BASELINES = Path(__file__).parents[2] / "synth" / "baselines"

#: Mean log-likelihoods of two windows of ten tokens.
LIKELIHOODS = {
    "dense": (-1.0, -2.0),
    "2:4": (-2.0, -3.0),
    "2:4,criterion=amber": (-1.75, -2.75),
    "2:4,shift=d-pts-mean,var": (-1.5, -2.75),
    "2:4,low-rank=8": (-1.5, -2.5),
    "2:4,weights=wt": (-3.0, -3.0),
    "4:8": (-1.5, -2.5),
    "1:4,criterion=amber": (-9.0, -9.0),
    "unstructured=0.5": (-1.2, -2.2),
}

CONTEXT = {"model": "a model", "prefill": "all", "window": "11", "dtype": "fp32", "tokens": "0:22",
           "text": "a text"}  # fmt: skip

#: Area and delay of each unit; a sparsifier costs more for each of its options.
COSTS = {
    "sparsifier": (1000.0, 2.0), "statistics": (400.0, 3.0), "correction": (300.0, 5.0),
    "epilogue": (200.0, 4.0), "pe": (500.0, 1.0),
}  # fmt: skip


class MethodTools(Tools):
    """Costs by what a unit is."""

    @staticmethod
    def key(config):
        return config.unit, config.criterion, config.shift, config.residual

    @staticmethod
    def sequential(config):  # noqa: ARG004 - of others it depends on the unit
        return 30.0

    def cost(self, design, flow):
        assert flow == "timed"
        config = design.config
        area, delay = COSTS[config.unit]
        options = (config.criterion == "scaled") + 2 * (config.shift != "none")
        return area * (1 + options) + 50 * config.residual, delay + options


@pytest.fixture
def tools(use_tools):
    return use_tools(MethodTools())


@pytest.fixture
def evaluation(tmp_path):
    measured = {
        text: Measured(Method.parse(text), None, tuple(Likelihood(10 * mean, 10) for mean in means))
        for text, means in LIKELIHOODS.items()
    }
    path = tmp_path / "evaluation.json"
    path.write_text(Evaluation(CONTEXT, measured).json)
    return path


@pytest.fixture
def run(run_study, tools, evaluation):  # noqa: ARG001 - in their places
    def run(*more, status=0):
        words = "--evaluation", evaluation, "--patterns", "2:4"
        return run_study("methods", *words, *more, status=status)

    return run


def test_units(run, out):
    lines = run()
    assert section(lines, "Units, flow timed") == [
        "sparsifier 2:4 1,000 2.000 1 1.00 2.00",
        "sparsifier 2:4 --criterion scaled --scale-format u8 2,000 3.000 1 2.00 4.00",
        "sparsifier 2:4 --shift token 3,000 4.000 1 3.00 6.00",
        "statistics 2:4 400 3.000 1 0.40 0.80",
        "correction 2:4 300 5.000 61 0.30 0.60",
        "epilogue 2:4 200 4.000 1 0.20 0.40",
        "sparsifier 2:4 --residual 1,050 2.000 1 1.05 2.10",
        "pe 2:4 500 1.000 1 0.50 1.00",
    ]
    rows = json.loads((out / "methods.json").read_text())["rows"]
    assert [(row["of_sparsifier"], row["of_pe"]) for row in rows][3] == (0.4, 0.8)


def test_methods(run, out):
    """Areas add up, the slowest unit counts; wins and their errors from the windows."""
    lines = run()
    assert section(lines, "Methods") == [
        f"2:4 - - - 1,000 +0% 2.00 {exp(2.5):.2f} +0.000 -",
        "2:4,criterion=amber --criterion scaled --scale-format u8 - - 2,000 +100% 3.00 "
        f"{exp(2.25):.2f} +0.250 0.000",
        # Wins 0.5 and 0.25: their mean, and half their distance as its error.
        "2:4,shift=d-pts-mean,var --shift token statistics, correction, epilogue - 3,900 +290% "
        f"5.00 {exp(2.125):.2f} +0.375 0.125",
        "2:4,low-rank=8 --residual - the product of rank 8 with the residual 1,050 +5% 2.00 "
        f"{exp(2):.2f} +0.500 0.000",
    ]
    methods = json.loads((out / "methods.json").read_text())["methods"]
    assert methods[2] == {
        "method": "2:4,shift=d-pts-mean,var",
        "units": [config.command for config in units_of(Method.parse(methods[2]["method"])).all],
        "outside": "",
        "area": 3900.0,
        "delay_ns": 5.0,
        "perplexity": round(exp(2.125), 6),
        "won": 0.375,
        "error": 0.125,
    }


def test_command(run, out):
    lines = run()
    command = (
        "python -m synth.report methods --patterns 2:4 --evaluation evaluation.json "
        "--liberty delays.lib"
    )
    assert f"command: {command}" in lines
    assert (out / "methods.md").read_text().startswith("# Methods of sparsity\n\n- tool: ")


def test_patterns_have_their_own_plain_sparsifier(run):
    lines = section(run("--patterns", "2:4,4:8"), "Methods")
    assert lines[-1] == f"4:8 - - - 1,000 +0% 2.00 {exp(2):.2f} +0.000 -"


def test_a_unit_that_fails(run, tools):
    tools.failures["correction", "act", "none", False] = SynthesisError("no luck")
    lines = run(status=1)
    assert "correction 2:4 - - - - - failed: no luck" in section(lines, "Units, flow timed")
    rows = section(lines, "Methods")
    assert " statistics, correction, epilogue - - - - " in rows[2]
    assert "1,050" in rows[3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--patterns", "1:4"],
            "argument --patterns: must be in the evaluation, without options, not 1:4",
        ),
        (
            ["--evaluation", "nowhere.json"],
            "argument --evaluation: evaluation file 'nowhere.json' must be a readable file: No "
            "such file or directory",
        ),
    ],
)
def test_refused(words, message, capsys, delays, evaluation):
    options = ["--liberty", delays.path, "--evaluation", evaluation]
    assert refused(capsys, "methods", *options, *words) == message


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("8:16", ""),
            ("8:16,criterion=clact", "the scales of a sequence"),
            ("8:16,shift=d-pts-median", "the median of a token"),
            (
                "8:16,shift=d-pts-mean,scaling=static",
                "the division by the scales",
            ),
            (
                "8:16,low-rank=64,scaling",
                "the scales of a sequence, the product of rank 64 with the residual",
            ),
        ],
    )
    def test_outside(self, text, expected):
        assert units_of(Method.parse(text)).outside == expected

    def test_those_of_a_method(self):
        units = units_of(Method.parse("4:8,criterion=amber,var,exact=hw,scale-format=pow2"))
        assert units.sparsifier == UnitConfig(
            n=4, m=8, criterion="scaled", scale_format="pow2", pipeline=2
        )
        statistics = UnitConfig(n=4, m=8, unit="statistics", pipeline=4)
        correction = UnitConfig(n=4, m=8, unit="correction", pipeline=1)
        epilogue = UnitConfig(n=4, m=8, unit="epilogue", dtype="int8", pipeline=8)
        assert units.others == (statistics, correction, epilogue)

    @pytest.mark.parametrize("text", ["dense", "unstructured=0.5", "8:16,weights=wanda"])
    def test_none(self, text):
        assert not is_built(Method.parse(text))

    def test_of_all_that_is_committed(self):
        for one in read_evaluation(BASELINE).measured.values():
            if is_built(one.method):
                assert units_of(one.method).sparsifier.n == one.method.pattern[0]


class TestPage:
    """docs/methods.md has the committed numbers."""

    def test_table(self):
        methods = json.loads((BASELINES / "methods.json").read_text())["methods"]
        by_text = {method["method"]: method for method in methods}
        lines = (DOCS / "methods.md").read_text().splitlines()
        rows = [line.split("|")[1:-1] for line in lines if line.startswith(("| `2:4", "| `8:16"))]
        rows = [[cell.strip().strip("`") for cell in row] for row in rows if len(row) == 8]
        assert len(rows) > 30
        for text, _, others, area, _, delay, perplexity, won in rows:
            method = by_text[text]
            units = units_of(Method.parse(text))
            assert others == ", ".join(config.unit for config in units.others)
            assert area == f"{method['area']:,.0f}"
            assert delay == f"{method['delay_ns']:.2f}"
            assert perplexity == f"{method['perplexity']:.4g}"
            if method["error"] is not None:
                assert won == f"{method['won']:+.3f} ({method['error']:.3f})"
