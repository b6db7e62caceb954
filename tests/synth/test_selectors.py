import json

import pytest

import synth.results
import synth.selectors
from hw.choice import Measured
from hw.config import UnitConfig
from hw.files import write_files
from synth.report import main
from synth.results import verilog_of
from synth.selectors import plot
from tests.synth.tiny_study import TABLE, TINY, refused, rows

pytestmark = pytest.mark.usefixtures("committed")

COMMAND = "python -m synth.report selectors"


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
    return refused(capsys, "selectors", *arguments)


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
