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


STA = {"timing": "OpenSTA 1.2", "timing_note": None, "delay_ns": 2.5}
PATH = {"path_start": "i_data[3]", "path_end": "mask"}


def test_delays(generic):
    timed = result(area_unit="um2", initiation_interval=1, **STA, **PATH)
    report = Report([timed], generic, "the command")
    lines = report.text.splitlines()
    assert "delay: OpenSTA 1.2, inputs at 0, outputs without load" in lines
    header, row = (" ".join(lines[place].split()) for place in (6, 8))
    assert "sequential delay ns density path cells" in header
    # 1e15 / (1234.5 * 2.5), in 1e9.
    assert row.endswith("30.0 2.500 324.02 7 1,000 1.3")
    assert "delay: from i_data[3] to mask" in lines
    note = "density: 10^9 groups per second and mm2, 1 / (area * delay * interval)"
    assert note in lines
    assert f"- {note}\n" in report.markdown
    content = json.loads(report.json)
    assert content["context"]["timing"] == "OpenSTA 1.2"
    (row,) = content["rows"]
    assert {field: row[field] for field in PATH} == PATH
    assert row["delay_ns"] == 2.5
    assert row["density"] == pytest.approx(1e15 / (1234.5 * 2.5))
    assert "is_estimate" not in row
    assert "netlist" not in row


def test_delays_of_some(generic):
    wires = result("wires", area_unit="um2", **STA | {"delay_ns": None, "timing_note": "none here"})
    timed = result(area_unit="um2", initiation_interval=1, **STA, **PATH)
    report = Report([wires, timed], generic, "the command")
    assert "wires has no delay: none here" in report.notes
    row = " ".join(report.text.splitlines()[8].split())
    assert row.endswith("30.0 - - 7 1,000 1.3")
    # Too many for the notes of a table; the JSON holds them all.
    assert not any(note.startswith("delay: from") for note in report.notes)


def test_no_delays(generic):
    text = Report([result()], generic, "the command").text
    assert "delay: none, library nmsparse_generic has no delays\n" in text
    assert "delay ns" not in text
    assert "density" not in text


def test_estimate(generic):
    guess = result(area_unit="um2", initiation_interval=1, is_estimate=True, **STA, **PATH)
    guess = replace(guess, timing="estimate of abc in yosys 0.0")
    text = Report([guess], generic, "the command").text
    assert (
        "delay: estimate of abc in yosys 0.0, as OpenSTA is not installed: gates only, without "
        "the registers' own times\n"
    ) in text
    assert "delay ns" in text
    # It is no clock period.
    assert "density" not in text


def test_other_verilog_and_other_library(generic):
    other = result("top", {}, area_unit="um2", nand2=9.0)
    text = Report([other], generic, "the command").text
    assert "areas in um2; one NAND2eq is nand2, 1\n" in text
    header, _, row = text.splitlines()[6:9]
    assert header.split()[:4] == ["top", "area", "um2", "NAND2eq"]
    assert row.split()[:3] == ["top", "1,234.5", "9.0"]


class TestSeveralFlows:
    """One design in two flows; the second has delays."""

    ROWS = (
        result(area_unit="um2", flow="timed", area=2000.0, **STA),
        result(area_unit="um2", flow="plain", timing_note="none here"),
    )

    def test_context(self, generic):
        report = Report(self.ROWS, generic, "the command")
        lines = report.text.splitlines()
        assert lines[2].startswith("flow: plain (synth -noabc -flatten; dfflibmap")
        assert lines[3].startswith("flow: timed (synth -noabc -flatten; dffunmap")
        assert lines[4] == "delay: OpenSTA 1.2, inputs at 0, outputs without load"
        content = json.loads(report.json)
        assert content["context"]["flow"] == "plain,timed"
        plain, timed = content["context"]["flow_steps"].split("\n")
        assert plain.startswith("plain: synth -noabc -flatten; dfflibmap")
        assert timed.startswith("timed: synth -noabc -flatten; dffunmap")
        assert content["context"]["timing"] == "OpenSTA 1.2"
        assert [(row["flow"], row["area"]) for row in content["rows"]] == [
            ("timed", 2000.0),
            ("plain", 1234.5),
        ]

    def test_baseline(self, generic, tmp_path):
        path = tmp_path / "old.json"
        path.write_text(Report(self.ROWS, generic, "the command").json)
        old = Report.read_baseline(path, generic, "plain,timed")
        # Each flow is compared with itself, in whatever order.
        _, table, _ = Report(self.ROWS[::-1], generic, "the command", old).text.split("\n\n")
        assert "1,234.5 " in table
        assert not set(table) & set("▲▼")
        worse = [replace(self.ROWS[0], area=2200.0), replace(self.ROWS[1], area=1481.4)]
        text = Report(worse, generic, "the command", old).text
        assert "2,200.0 ▲ +10.0 %" in text
        assert "1,481.4 ▲ +20.0 %" in text
        with pytest.raises(BaselineError) as caught:
            Report.read_baseline(path, generic, "plain")
        assert str(caught.value) == (
            "must be of library nmsparse_generic and flow plain, "
            f"not of nmsparse_generic and plain,timed as {str(path)!r} is"
        )


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

    @pytest.mark.parametrize(
        ("old", "new", "mark", "compared"),
        [
            (2.5, 2.5, "30.0 2.500 7", True),
            (2.5, 2.0, "30.0 2.000 ▼ -20.0 % 7", True),
            (2.0, 2.5, "30.0 2.500 ▲ +25.0 % 7", True),
            (None, 2.5, "30.0 2.500 7", False),
            (2.0, None, "30.0 7", True),
        ],
    )
    def test_delays(self, tmp_path, generic, old, new, mark, compared):
        path = tmp_path / "old.json"
        before = result(**STA | {"delay_ns": old})
        path.write_text(Report([before], generic, "the command").json)
        rows = Report.read_baseline(path, generic, "plain")
        text = Report([result(**STA | {"delay_ns": new})], generic, "the command", rows).text
        assert mark in " ".join(text.split())
        assert ("or there are none" not in text) is compared

    def test_delays_of_another_tool(self, tmp_path, generic):
        path = tmp_path / "old.json"
        path.write_text(Report([result(**STA)], generic, "the command").json)
        rows = Report.read_baseline(path, generic, "plain")
        other = result(**STA | {"timing": "OpenSTA 1.3", "delay_ns": 2.0})
        text = Report([other], generic, "the command", rows).text
        assert "30.0 2.000 7" in " ".join(text.split())
        assert "delays of the baseline are of another tool, or there are none\n" in text

    def test_older_report(self, baseline, generic):
        content = json.loads(baseline.read_text())
        del content["context"]["timing"]
        del content["rows"][0]["delay_ns"]
        baseline.write_text(json.dumps(content))
        rows = Report.read_baseline(baseline, generic, "plain")
        text = Report([result(area=1300.0, **STA)], generic, "the command", rows).text
        assert "1,300.0 ▲ +5.3 % 1,270.0 30.0 2.500 7" in " ".join(text.split())

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
