import json
import re
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

import synth.results
import synth.selectors
from hw.choice import Measured
from hw.config import UnitConfig
from hw.files import write_files
from synth.area import AreaResult
from synth.process import SynthesisError
from synth.report import main
from synth.results import verilog_of
from synth.selectors import plot

TINY = "--selectors compare_matrix,threshold_serial --patterns 2:4 --key-widths 8 --pipelines 0,1"
COMMAND = "python -m synth.report selectors"

#: Area and delay of each unit of the tiny table.
COSTS = {
    ("compare_matrix", 0): (400.0, 2.0),
    ("compare_matrix", 1): (500.0, 1.0),
    ("threshold_serial", 0): (200.0, 4.0),
    ("threshold_serial", 1): (250.0, 1.0),
}


class Tools:
    """Generator, synthesis and timing in their places, which count what they are asked for."""

    def __init__(self):
        self.emitted = []
        self.measured = []
        self.costs = dict(COSTS)
        self.failures = {}
        self.body = "module"
        self.header = "// made today\n"
        self.generator = "a generator"
        self.sta = "OpenSTA 1.2"

    def verilog(self, config, cancel):
        self.emitted.append(self.key(config))
        if self.failures.get(self.key(config)) == "slow":
            assert cancel.wait(30)
            raise SynthesisError("the synthesis was cancelled")
        return f"{self.header}\n{self.body} {self.key(config)}\n"

    def area(self, design, *, library, flow, cancel):
        key = self.key(design.config)
        self.measured.append(key)
        assert not cancel.is_set()
        if key in self.failures:
            raise self.failures[key]
        area, delay = self.costs[key]
        result = AreaResult(
            name=design.top,
            parameters={},
            area=area,
            combinational=area,
            sequential=0.0 if key == ("compare_matrix", 0) else 30.0,
            area_unit="um2",
            nand2=area,
            longest_path=3,
            cells=10,
            cell_types={"nand2": 10},
            library=library.name,
            flow=flow,
            tool="yosys 0.0 (pyosys)",
            seconds=1.0,
            delay_ns=delay,
            timing="OpenSTA 1.2",
            timing_note="no path" if delay is None else None,
        )
        return result.of(design.config)

    @staticmethod
    def key(config):
        return config.selector, config.pipeline


@pytest.fixture
def tools(monkeypatch):
    tools = Tools()
    monkeypatch.setattr(synth.results, "verilog_of", tools.verilog)
    monkeypatch.setattr(synth.results, "area", tools.area)
    monkeypatch.setattr(synth.results, "_generator", lambda: tools.generator)
    for module in (synth.results, synth.selectors):
        monkeypatch.setattr(module, "method", lambda: tools.sta)
    return tools


@pytest.fixture(autouse=True)
def committed(monkeypatch, tmp_path):
    """The committed files, elsewhere."""
    folder = tmp_path / "committed"
    monkeypatch.setattr(synth.selectors, "BASELINE", folder / "selectors.json")
    monkeypatch.setattr(synth.selectors, "TABLE", folder / "measured.json")
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "out"


@pytest.fixture
def run(capsys, out, delays):
    """Run the tiny table with more arguments; the lines that it prints."""

    def run(*more, status=0):
        words = ["selectors", *TINY.split(), "--liberty", delays.path, "--jobs", 1, "-o", out]
        with pytest.raises(SystemExit) if status else nullcontext() as caught:
            main([str(word) for word in (*words, *more)])
        if status:
            assert caught.value.code == status
        return capsys.readouterr().out.splitlines()

    return run


def rows(lines):
    """The rows of the table."""
    return [
        " ".join(line.split()) for line in lines if re.match("(compare_matrix|threshold_s)", line)
    ]


TABLE = [
    "compare_matrix 2:4 8 0 400.0 2.000 0 - - 800",
    # 1e15 / (500 * 1), in 1e9.
    "compare_matrix 2:4 8 1 500.0 1.000* 1 1 2,000.00* 500",
    "threshold_serial 2:4 8 0 200.0* 4.000 0 11 113.64 800",
    "threshold_serial 2:4 8 1 250.0 1.000* 1 11 363.64 250",
]


@pytest.mark.usefixtures("tools")
def test_table(run, out):
    lines = run()
    command = f"{COMMAND} {TINY} --liberty delays.lib --flow timed"
    assert lines[0].startswith("tool: yosys 0.0 (pyosys), nmsparse ")
    assert lines[1].startswith("library: delays (delays.lib), areas in um2; one NAND2eq is nand2")
    assert lines[2].startswith("flow: timed (synth -noabc -flatten; ")
    assert lines[3] == "delay: OpenSTA 1.2, inputs at 0, outputs without load"
    assert lines[4] == f"command: {command}"
    header = "selector pattern key bits pipeline area um2 delay ns latency interval density"
    assert " ".join(lines[6].split()) == f"{header} area*delay"
    assert rows(lines) == TABLE
    assert any(line.startswith("selector units with valid/ready; key bits: 8") for line in lines)
    assert lines[-1] == f"wrote {out / 'selectors.json'} and {out / 'selectors.md'}"

    content = json.loads((out / "selectors.json").read_text())
    assert content["context"]["command"] == command
    assert content["failures"] == []
    assert [row["area_delay"] for row in content["rows"]] == [800, 500, 800, 250]
    row = content["rows"][3]
    assert (row["key_width"], row["latency_cycles"], row["initiation_interval"]) == (8, 1, 11)
    assert row["density"] == pytest.approx(1e15 / 250 / 11)
    assert row["parameters"]["selector"] == "threshold_serial"

    markdown = (out / "selectors.md").read_text()
    assert markdown.startswith("# Selectors\n\n- tool: ")
    assert f"- command: `{command}`\n" in markdown
    assert " **1.000** |" in markdown
    assert " **2,000.00** |" in markdown
    assert str(out) not in markdown + (out / "selectors.json").read_text()


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
        row = synth.selectors._row
        seen = []

        def interrupt(config, future):
            if seen:
                raise KeyboardInterrupt
            seen.append(config)
            return row(config, future)

        monkeypatch.setattr(synth.selectors, "_row", interrupt)
        assert run(status=130) == []
        lines = (out / "results.jsonl").read_text().splitlines()
        assert 2 <= len(lines) <= 4
        assert all(json.loads(line) for line in lines)
        assert [path.name for path in out.iterdir()] == ["results.jsonl"]
        monkeypatch.setattr(synth.selectors, "_row", row)
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


class TestUpdate:
    def test_files(self, run, tools, out, committed):
        tools.costs["compare_matrix", 1] = (500.0, None)
        lines = run("--update")
        for name in ("selectors.json", "selectors.md"):
            assert (committed / name).read_bytes() == (out / name).read_bytes()
        text = (committed / "measured.json").read_text()
        content = json.loads(text)
        report = json.loads((out / "selectors.json").read_text())
        assert content["context"] == report["context"]
        measured = [Measured(**row) for row in content["rows"]]
        # One line a row; those without a delay are left out.
        assert text.count('{"selector": ') == 3
        assert measured[0] == Measured(
            selector="compare_matrix",
            n=2,
            m=4,
            key_width=8,
            pipeline=0,
            interval=1,
            area=400.0,
            delay=2.0,
        )
        assert [(row.pipeline, row.interval) for row in measured[1:]] == [(0, 11), (1, 11)]
        places = [out / "selectors.json", out / "selectors.md"]
        places += [committed / name for name in ("selectors.json", "selectors.md", "measured.json")]
        assert lines[-1] == f"wrote {' and '.join(map(str, places))}"

    def test_not_asked_for(self, run, tools, committed):
        run()
        assert tools.measured
        assert not committed.exists()


def measured(selector, pipeline, interval=1, key_width=15, m=8):
    return Measured(
        selector=selector,
        n=m // 2,
        m=m,
        key_width=key_width,
        pipeline=pipeline,
        interval=interval,
        area=100.0 * m + 10 * pipeline,
        delay=2.0 / (1 + pipeline),
    )


class TestPlot:
    ROWS = (
        measured("compare_matrix", 0),
        measured("compare_matrix", 1),
        measured("rank_merge", 2),
        measured("threshold_serial", 0, interval=12),
        measured("compare_matrix", 1, m=4),
        measured("compare_matrix", 1, m=16, key_width=8),
    )

    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_same_bytes(self):
        drawings = plot(self.ROWS)
        assert list(drawings) == ["selectors_2_4.svg", "selectors_4_8.svg"]
        assert plot(reversed(self.ROWS)).keys() == drawings.keys()
        assert plot(self.ROWS) == drawings
        text = drawings["selectors_4_8.svg"].decode()
        assert "Selectors 4:8, keys of 15 bits (labels: pipeline)" in text
        for selector in ("compare_matrix", "rank_merge", "threshold_serial"):
            assert text.count(f">{selector}<") == 1
        assert ">selection_network<" not in text
        assert "dc:date" not in text

    def test_front(self):
        smaller, larger = measured("compare_matrix", 1, m=4), measured("compare_matrix", 1)
        serial = measured("threshold_serial", 0, interval=12, m=2)
        assert synth.selectors._front([serial, larger, smaller]) == [smaller, serial]

    def test_from_the_table(self, capsys, tmp_path, committed):
        content = json.dumps({"rows": [vars(row) for row in self.ROWS]})
        write_files({committed / "measured.json": content})
        folder = tmp_path / "images"
        main(["selectors", "--plot", str(folder)])
        places = [folder / "selectors_2_4.svg", folder / "selectors_4_8.svg"]
        assert capsys.readouterr().out == f"wrote {places[0]} and {places[1]}\n"
        assert sorted(folder.iterdir()) == places

    @pytest.mark.usefixtures("tools")
    def test_of_a_run(self, run, tmp_path):
        lines = run("--key-widths", "15", "--plot", tmp_path / "images")
        assert lines[-1] == f"wrote {tmp_path / 'images' / 'selectors_2_4.svg'}"

    def test_nothing_to_draw(self, capsys, tmp_path, committed):
        write_files({committed / "measured.json": '{"rows": []}'})
        assert fails(capsys, "--plot", tmp_path / "images") == (
            "argument --plot: must be given with --liberty, since measured.json has no keys of "
            "15 bits"
        )

    def test_other_keys(self, capsys, tmp_path, delays):
        options = ["--liberty", delays.path, "--key-widths", "8,16", "--plot", tmp_path / "images"]
        assert fails(capsys, *options) == (
            "argument --plot: must go with a key width of 15, not with 8,16"
        )

    def test_no_matplotlib(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(synth.selectors, "find_spec", lambda _: None)
        assert fails(capsys, "--plot", tmp_path) == (
            "argument --plot: must have matplotlib: pip install matplotlib"
        )


def fails(capsys, *arguments):
    """The one line of a refused command."""
    with pytest.raises(SystemExit) as caught:
        main(["selectors", *map(str, arguments)])
    assert caught.value.code == 2
    printed, message = capsys.readouterr()
    assert printed == ""
    assert message.startswith(f"{COMMAND}: error: ")
    assert message.endswith("\n")
    assert message.count("\n") == 1
    return message.removeprefix(f"{COMMAND}: error: ").removesuffix("\n")


NAMES = "compare_matrix, rank_merge, selection_network, threshold_search, threshold_serial"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "argument --liberty: must be given: a library with delays"),
        (
            "--selectors matrix",
            f"argument --selectors: must be a list such as compare_matrix of {NAMES}, not 'matrix'",
        ),
        (
            "--key-widths 8,7",
            "argument --key-widths: must be a list such as 8,16 of 8, 15, 16 (the keys of int8, "
            "bf16, int16), not '8,7'",
        ),
        (
            "--pipelines 1,x",
            "argument --pipelines: must be a list of whole numbers such as 0,1,2, not '1,x'",
        ),
        (
            "--patterns 8",
            "argument --patterns: must be a list of patterns N:M such as 2:4,4:8,8:16,16:32, "
            "not '8'",
        ),
        ("--timeout 0", "argument --timeout: must be a whole number of at least 1, not '0'"),
        ("--jobs x", "argument --jobs: must be a whole number of at least 1, not 'x'"),
        ("--units pe", "unrecognized arguments: --units pe"),
    ],
)
def test_refused(capsys, arguments, message):
    assert fails(capsys, *arguments.split()) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--patterns 9:8", "argument --patterns: n must be between 1 and m = 8, not 9"),
        ("--pipelines 33", "argument --pipelines: must be between 0 and 32, not 33"),
        (
            "--selectors threshold_serial --pipelines 2,3",
            "argument --pipelines: must hold 0 or 1 for threshold_serial, not '2,3'",
        ),
        (
            "--baseline no.json",
            "no.json: No such file or directory",
        ),
    ],
)
def test_refused_with_a_library(capsys, delays, out, arguments, message):
    assert fails(capsys, *arguments.split(), "--liberty", delays.path, "-o", out) == message
    assert not out.parent.exists()


class TestRefusedFiles:
    def test_library_without_delays(self, capsys, generic, out):
        assert fails(capsys, "--liberty", generic.path, "-o", out) == (
            f"argument --liberty: must be a library with delays, not {str(generic.path)!r}"
        )

    def test_baseline_of_another_flow(self, run, tools, capsys, delays, out):
        run()
        path = out / "selectors.json"
        options = ["--liberty", delays.path, "--flow", "plain", "--baseline", path, "-o", out]
        assert fails(capsys, *options) == (
            "argument --baseline: must be of library delays and flow plain, not of delays and "
            f"timed as {str(path)!r} is"
        )
        assert len(tools.measured) == 4

    def test_output_below_a_file(self, capsys, delays, tmp_path):
        path = tmp_path / "file"
        path.touch()
        assert fails(capsys, "--liberty", delays.path, "-o", path / "sub") == (
            "argument -o/--output: must be a folder that can be written to, "
            f"not {str(path / 'sub')!r}"
        )

    def test_update_without_sta(self, capsys, tools, delays, out):
        tools.sta = None
        assert fails(capsys, "--liberty", delays.path, "--update", "-o", out) == (
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


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "python -m synth.report selectors" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["selectors", "--help"])
    assert caught.value.code == 0
    assert "(default: 0,1,2,3,4; threshold_serial takes 0 and 1 only)" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.usefixtures("sta")
def test_real(run, out, monkeypatch):
    """The tools themselves, and nothing of them in a second run."""
    lines = run()
    assert len(rows(lines)) == 4
    content = json.loads((out / "selectors.json").read_text())
    assert [row["initiation_interval"] for row in content["rows"]] == [None, 1, 11, 11]
    assert all(row["area"] > 0 and row["delay_ns"] > 0 for row in content["rows"])
    assert content["context"]["tool"].startswith("yosys ")
    assert content["context"]["timing"].startswith("OpenSTA ")

    def refuse(*_, **__):
        raise AssertionError

    for name in ("verilog_of", "area"):
        monkeypatch.setattr(synth.results, name, refuse)
    assert rows(run()) == rows(lines)


def test_verilog_is_the_generator_s():
    from hw.emit import emit

    config = UnitConfig(n=2, m=4, unit="selector", selector="compare_matrix", dtype="int4")
    assert verilog_of(config) == emit(config).verilog
