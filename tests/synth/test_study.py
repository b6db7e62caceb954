"""What all studies share, with that of the selectors."""

import json
from types import SimpleNamespace

import pytest

import synth.results
import synth.study
from synth.process import SynthesisError
from synth.results import verilog_of
from tests.synth.tiny_study import COSTS, TABLE, refused, rows

pytestmark = pytest.mark.usefixtures("committed")


class TestResume:
    def test_nothing_is_measured_twice(self, run, tools, out):
        run()
        assert len(tools.emitted) == len(tools.measured) == 4
        lines = run()
        assert len(tools.emitted) == len(tools.measured) == 4
        assert lines[0] == f"4 of 4 units are in {out / 'results.jsonl'}"
        assert rows(lines) == TABLE

    def test_same_verilog_of_another_generator(self, run, tools):
        run()
        tools.generator = "another"
        tools.header = "// made tomorrow\n// by another\n"
        assert rows(run()) == TABLE
        assert (len(tools.emitted), len(tools.measured)) == (8, 4)
        # Known from now on.
        run()
        assert (len(tools.emitted), len(tools.measured)) == (8, 4)

    def test_changed_verilog(self, run, tools):
        run()
        tools.generator = "another"
        tools.body = "other module"
        tools.costs["compare_matrix", 1] = (600.0, 1.0)
        assert rows(run())[1].startswith("compare_matrix 2:4 8 1 600.0 1.000*")
        assert len(tools.measured) == 8

    def test_generator_that_changes_during_the_run(self, run, tools, monkeypatch):
        versions = iter(["old"])
        monkeypatch.setattr(synth.results, "_generator", lambda: next(versions, "new"))
        run()
        monkeypatch.setattr(synth.results, "_generator", lambda: "old")
        run()
        # What was made with who knows which generator is not taken for the old one's.
        assert (len(tools.emitted), len(tools.measured)) == (8, 4)

    def test_other_flow(self, run, tools):
        run()
        run("--flow", "bounded")
        assert len(tools.measured) == 8

    def test_other_versions(self, run, tools, monkeypatch):
        run()
        tools.sta = "OpenSTA 1.3"
        run()
        assert len(tools.measured) == 8
        monkeypatch.setattr(synth.results, "version", lambda _: "1.2.3")
        run()
        assert len(tools.measured) == 12

    def test_other_library(self, run, tools, delays, tmp_path):
        run()
        path = tmp_path / "other.lib"
        path.write_text(delays.path.read_text() + "\n")
        run("--liberty", path)
        assert len(tools.measured) == 8

    def test_broken_last_line(self, run, tools, out):
        run()
        path = out / "results.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        assert rows(run()) == TABLE
        assert len(tools.measured) == 5
        # The broken line stays as it is, and does not break the one that follows.
        assert path.read_bytes() == whole[:-100] + b"\n" + whole.splitlines(keepends=True)[-1]
        run()
        assert len(tools.measured) == 5

    @pytest.mark.parametrize("line", [b"\xff", b"[]", b'{"result": 1}', b'{"result": {"a": 1}}'])
    def test_lines_of_others(self, run, out, tools, line):
        out.mkdir(parents=True)
        (out / "results.jsonl").write_bytes(line + b"\n")
        assert rows(run()) == TABLE
        assert len(tools.measured) == 4

    def test_interrupted(self, run, tools, out, monkeypatch):
        row = synth.study._row
        seen = []

        def interrupt(unit, future):
            if seen:
                raise KeyboardInterrupt
            seen.append(unit)
            return row(unit, future)

        monkeypatch.setattr(synth.study, "_row", interrupt)
        assert run(status=130) == []
        lines = (out / "results.jsonl").read_text().splitlines()
        assert 2 <= len(lines) <= 4
        assert all(json.loads(line) for line in lines)
        assert [path.name for path in out.iterdir()] == ["results.jsonl"]
        monkeypatch.setattr(synth.study, "_row", row)
        tools.measured = []
        assert rows(run()) == TABLE
        assert len(tools.measured) == 4 - len(lines)


class TestFailures:
    def test_rows(self, run, tools, out):
        tools.failures = {
            ("compare_matrix", 0): SynthesisError("yosys failed: a | b"),
            ("threshold_serial", 1): KeyError("x"),
        }
        lines = run(status=1)
        assert rows(lines) == [
            "compare_matrix 2:4 8 0 - - - - - - failed: yosys failed: a | b",
            "compare_matrix 2:4 8 1 500.0 1.000* 1 1 2,000.00* 500",
            "threshold_serial 2:4 8 0 200.0* 4.000 0 11 113.64 800",
            "threshold_serial 2:4 8 1 - - - - - - failed: 'x'",
        ]
        assert "| failed: yosys failed: a \\| b |" in (out / "selectors.md").read_text()
        content = json.loads((out / "selectors.json").read_text())
        assert len(content["rows"]) == 2
        assert [row["failure"] for row in content["failures"]] == [
            "failed: yosys failed: a | b",
            "failed: 'x'",
        ]
        assert content["failures"][0]["parameters"]["selector"] == "compare_matrix"
        # Only those are tried again.
        tools.failures = {}
        assert rows(run()) == TABLE
        assert len(tools.measured) == 6

    def test_slow(self, run, tools):
        tools.failures = {("threshold_serial", 0): "slow"}
        lines = rows(run("--timeout", "1", status=1))
        assert lines[2] == "threshold_serial 2:4 8 0 - - - - - - no result in 1 s"
        assert lines[0] == "compare_matrix 2:4 8 0 400.0 2.000 0 - - 800"

    def test_all(self, run, tools, out):
        tools.failures = dict.fromkeys(COSTS, SynthesisError("no"))
        assert run(status=1) == []
        assert not out.exists()

    def test_no_delay(self, run, tools):
        tools.costs["compare_matrix", 1] = (500.0, None)
        lines = run()
        assert rows(lines)[1] == "compare_matrix 2:4 8 1 500.0 - 1 1 - -"
        assert "nm_selector_2_4_int8 has no delay: no path" in lines


class TestBaseline:
    def test_marks(self, run, tools, out):
        run()
        tools.body = "changed"
        tools.generator = "another"
        tools.costs["compare_matrix", 1] = (550.0, 0.5)
        path = out / "selectors.json"
        lines = run("--baseline", path)
        assert rows(lines) == [
            TABLE[0],
            "compare_matrix 2:4 8 1 550.0 ▲ +10.0 % 0.500* ▼ -50.0 % 1 1 3,636.36* 275",
            TABLE[2],
            "threshold_serial 2:4 8 1 250.0 1.000 1 11 363.64 250",
        ]
        assert "▲ ▼: more or less than in the baseline" in lines
        assert " **0.500** ▼ -50.0 % |" in (out / "selectors.md").read_text()
        # A row that was not there before.
        content = json.loads(path.read_text())
        del content["rows"][2]
        path.write_text(json.dumps(content))
        assert rows(run("--baseline", path))[2].startswith(
            "threshold_serial 2:4 8 0 200.0* (new) 4.000 (new) 0"
        )

    def test_committed(self, run, tools, committed):
        run("--update")
        tools.body = "changed"
        tools.generator = "another"
        tools.costs["compare_matrix", 0] = (500.0, 2.0)
        assert rows(run())[0].startswith("compare_matrix 2:4 8 0 500.0 ▲ +25.0 %")
        assert rows(run("--baseline", "none"))[0].startswith("compare_matrix 2:4 8 0 500.0 2.000")
        # One of another flow is none at all.
        assert "▲" not in "".join(run("--flow", "bounded"))
        (committed / "selectors.json").write_text("{}")
        assert "▲" not in "".join(run())


class TestRefusedFiles:
    def test_library_without_delays(self, capsys, generic, out):
        assert refused(capsys, "selectors", "--liberty", generic.path, "-o", out) == (
            f"argument --liberty: must be a library with delays, not {str(generic.path)!r}"
        )

    def test_baseline_of_another_flow(self, run, tools, capsys, delays, out):
        run()
        path = out / "selectors.json"
        options = ["--liberty", delays.path, "--flow", "plain", "--baseline", path, "-o", out]
        assert refused(capsys, "selectors", *options) == (
            "argument --baseline: must be of library delays and flow plain, not of delays and "
            f"timed as {str(path)!r} is"
        )
        assert len(tools.measured) == 4

    def test_output_below_a_file(self, capsys, delays, tmp_path):
        path = tmp_path / "file"
        path.touch()
        assert refused(capsys, "selectors", "--liberty", delays.path, "-o", path / "sub") == (
            "argument -o/--output: must be a folder that can be written to, "
            f"not {str(path / 'sub')!r}"
        )

    def test_update_without_sta(self, capsys, tools, delays, out):
        tools.sta = None
        assert refused(capsys, "selectors", "--liberty", delays.path, "--update", "-o", out) == (
            "argument --update: must be given with OpenSTA (sta) installed, whose delays hold "
            "the registers' own times"
        )

    def test_generator_fails(self):
        config = SimpleNamespace(top="x", command="python -m hw.generate --n 9 --m 8")
        with pytest.raises(SynthesisError) as caught:
            verilog_of(config)
        assert str(caught.value) == (
            "x: the generator ended with status 2; the last line of its log: "
            "python -m hw.generate: error: --n must be between 1 and m = 8, not 9"
        )
