import json
from dataclasses import replace

import pytest

from synth.area import AreaResult
from synth.render import BaselineError, Report

SELECTOR = {"unit": "selector", "n": 2, "m": 4, "dtype": "bf16", "selector": "x", "pipeline": 1}


def result(name="nm_selector_2_4_bf16", parameters=None, area=1234.5, path=7, **others):
    values = {
        "combinational": area - 30,
        "sequential": 30.0,
        "area_unit": "NAND2eq",
        "nand2": area,
        "longest_path": path,
        "cells": 1000,
        "cell_types": {"dff": 5, "nand2": 995},
        "library": "nmsparse_generic",
        "flow": "plain",
        "tool": "yosys 0.0 (pyosys)",
        "seconds": 1.26,
        "timing_note": "library nmsparse_generic has no delays",
    }
    parameters = SELECTOR if parameters is None else parameters
    return AreaResult(name=name, parameters=parameters, area=area, **(values | others))


def test_json(generic):
    content = json.loads(Report([result()], generic, "the command").json)
    assert content["context"] == {
        "project": content["context"]["project"],
        "tool": "yosys 0.0 (pyosys)",
        "library": "nmsparse_generic",
        "library_file": "generic.lib",
        "area_unit": "NAND2eq",
        "nand2_cell": "nand2",
        "nand2_area": 1.0,
        "flow": "plain",
        "flow_steps": content["context"]["flow_steps"],
        "timing": None,
        "command": "the command",
    }
    assert content["rows"] == [
        {
            "name": "nm_selector_2_4_bf16",
            "parameters": SELECTOR,
            "area": 1234.5,
            "combinational": 1204.5,
            "sequential": 30.0,
            "nand2": 1234.5,
            "longest_path": 7,
            "cells": 1000,
            "cell_types": {"dff": 5, "nand2": 995},
            "seconds": 1.26,
            "delay_ns": None,
            "path_start": None,
            "path_end": None,
            "timing_note": "library nmsparse_generic has no delays",
            "initiation_interval": None,
            "density": None,
        }
    ]


def test_text(generic):
    lines = Report([result()], generic, "the command").text.splitlines()
    assert lines[0].startswith("tool: yosys 0.0 (pyosys), nmsparse ")
    assert lines[1] == "library: nmsparse_generic (generic.lib), areas in NAND2eq"
    assert lines[2].startswith("flow: plain (synth -noabc -flatten; ")
    assert lines[3] == "delay: none, library nmsparse_generic has no delays"
    assert lines[4] == "command: the command"
    header = "unit pattern dtype metadata pipeline area NAND2eq combinational sequential"
    assert " ".join(lines[6].split()) == f"{header} path cells seconds"
    assert " ".join(lines[8].split()) == "selector 2:4 bf16 - 1 1,234.5 1,204.5 30.0 7 1,000 1.3"


def test_other_verilog_and_other_library(generic):
    other = result("top", {}, area_unit="um2", nand2=9.0)
    text = Report([other], generic, "the command").text
    assert "areas in um2; one NAND2eq is nand2, 1\n" in text
    header, _, row = text.splitlines()[6:9]
    assert header.split()[:4] == ["top", "area", "um2", "NAND2eq"]
    assert row.split()[:3] == ["top", "1,234.5", "9.0"]


def test_notes(generic):
    empty = result(area=0.0, cells=0, path=0)
    report = Report([empty], generic, "the command")
    note = "nm_selector_2_4_bf16 has no cells: its outputs are inputs or constants"
    assert note in report.text
    assert f"- {note}\n" in report.markdown


def test_markdown(generic):
    markdown = Report([result()], generic, "the command").markdown
    assert markdown.startswith("# Area\n\n- tool: ")
    assert "- command: `the command`\n" in markdown
    assert "| selector | 2:4 " in markdown
    assert "▲" not in markdown


class TestBaseline:
    @pytest.fixture
    def baseline(self, tmp_path, generic):
        path = tmp_path / "old.json"
        path.write_text(Report([result()], generic, "the command").json)
        return path

    @pytest.mark.parametrize(
        ("area", "path", "marks"),
        [
            (1234.5, 7, "1,234.5 1,204.5 30.0 7 1,000"),
            (1300.0, 6, "1,300.0 ▲ +5.3 % 1,270.0 30.0 6 ▼ -14.3 % 1,000"),
            (1200.0, 8, "1,200.0 ▼ -2.8 % 1,170.0 30.0 8 ▲ +14.3 % 1,000"),
        ],
    )
    def test_changes(self, baseline, generic, area, path, marks):
        old = Report.read_baseline(baseline, generic, "plain")
        report = Report([result(area=area, path=path)], generic, "the command", old)
        assert marks in " ".join(report.text.split())
        assert "▲ ▼: more or less than in the baseline" in report.text
        assert all(word in report.markdown for word in marks.split())

    def test_new(self, baseline, generic):
        old = Report.read_baseline(baseline, generic, "plain")
        other = replace(result(), parameters={**SELECTOR, "pipeline": 2})
        assert "1,234.5 (new)" in Report([other], generic, "the command", old).text

    def test_from_nothing(self, tmp_path, generic):
        path = tmp_path / "old.json"
        path.write_text(Report([result(area=0.0, path=0)], generic, "the command").json)
        old = Report.read_baseline(path, generic, "plain")
        assert "1,234.5 ▲ " in Report([result()], generic, "the command", old).text

    def test_other_flow(self, baseline, generic):
        with pytest.raises(BaselineError) as caught:
            Report.read_baseline(baseline, generic, "bounded")
        assert str(caught.value) == (
            "must be of library nmsparse_generic and flow bounded, "
            f"not of nmsparse_generic and plain as {str(baseline)!r} is"
        )

    @pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"context": {}, "rows": [1]}'])
    def test_no_report(self, tmp_path, generic, text):
        path = tmp_path / "old.json"
        path.write_text(text)
        with pytest.raises(BaselineError) as caught:
            Report.read_baseline(path, generic, "plain")
        assert str(caught.value) == (
            f"must be an area report in JSON, as this command writes it, not {str(path)!r}"
        )
