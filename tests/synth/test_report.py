import gzip
import json
import re
import subprocess
import sys

import pytest

from synth.liberty import GENERIC
from synth.report import area, areas, main, read_liberty

NAND = "module top(input a, b, output y); assign y = ~(a & b); endmodule\n"


@pytest.fixture
def verilog(tmp_path):
    path = tmp_path / "in" / "nand gate.v"
    path.parent.mkdir()
    path.write_text(NAND)
    return path


def fails(capsys, out, *arguments):
    """The one line of a refused command."""
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments), "-o", str(out)])
    assert caught.value.code == 2
    printed, message = capsys.readouterr()
    assert printed == ""
    assert message.startswith("python -m synth.report: error: ")
    assert message.endswith("\n")
    assert message.count("\n") == 1
    # Nothing is written, not even a folder.
    assert not out.parent.exists()
    return message.removeprefix("python -m synth.report: error: ").removesuffix("\n")


def test_units(capsys, out):
    main(f"--units decoder,pe --patterns 2:4,1:3 --jobs 2 -o {out}".split())
    printed, message = capsys.readouterr()
    # On a busy machine a bar is drawn, and wiped out.
    assert message.rpartition("\r")[2] == ""
    command = "python -m synth.report --units decoder,pe --patterns 2:4,1:3 --flow bounded"
    assert f"command: {command}\n" in printed
    assert printed.endswith(f"wrote {out / 'area.json'} and {out / 'area.md'}\n")
    content = json.loads((out / "area.json").read_text())
    assert [row["name"] for row in content["rows"]] == [
        "nm_decoder_2_4_bitmap",
        "nm_decoder_1_3_bitmap",
        "nm_pe_2_4_int8",
        "nm_pe_1_3_int8",
    ]
    assert content["context"]["command"] == command
    assert all(row["area"] > 0 for row in content["rows"])
    assert sorted(path.name for path in out.iterdir()) == ["area.json", "area.md"]
    for path in out.iterdir():
        assert str(out) not in path.read_text()


def test_options_reach_the_units(capsys, out):
    options = "--units sparsifier --patterns 2:4 --dtype int4 --metadata index --pipeline 0"
    main([*options.split(), "-o", str(out)])
    (row,) = json.loads((out / "area.json").read_text())["rows"]
    assert row["name"] == "nm_sparsifier_2_4_int4"
    assert (row["parameters"]["metadata"], row["parameters"]["pipeline"]) == ("index", 0)
    assert row["sequential"] == 0
    assert f"{options} --flow bounded\n" in capsys.readouterr().out


def test_verilog(capsys, verilog, out):
    main(["--verilog", str(verilog), "--top", "top", "--flow", "plain", "-o", str(out)])
    printed = capsys.readouterr().out
    assert "area_nand2 1.0000" in printed.splitlines()
    # The file's name and not its folder.
    assert "--verilog 'nand gate.v' --top top --flow plain\n" in printed
    assert sorted(path.name for path in out.iterdir()) == ["area_top.json", "area_top.md"]
    text = (out / "area_top.json").read_text()
    assert str(verilog.parent) not in text
    assert json.loads(text)["rows"][0]["cell_types"] == {"nand2": 1}


def test_liberty(capsys, verilog, out, tmp_path):
    # A library of another name has square micrometres.
    path = tmp_path / "other.lib.gz"
    text = GENERIC.read_text().replace("nmsparse_generic", "other")
    path.write_bytes(gzip.compress(text.replace("area : 1;", "area : 3.75;").encode()))
    main(["--verilog", str(verilog), "--top", "top", "--liberty", str(path), "-o", str(out)])
    printed = capsys.readouterr().out
    assert "area_um2 3.7500" in printed.splitlines()
    assert "library: other (other.lib.gz), areas in um2; one NAND2eq is nand2, 3.75\n" in printed
    assert "--top top --liberty other.lib.gz --flow" in printed


@pytest.mark.usefixtures("sta")
@pytest.mark.parametrize("flow", ["plain", "bounded", "timed"])
def test_delay(capsys, verilog, out, delays, flow):
    files = ["--verilog", str(verilog), "--liberty", str(delays.path)]
    main([*files, "--top", "top", "--flow", flow, "-o", str(out)])
    printed = capsys.readouterr().out.splitlines()
    assert "area_um2 1.0000" in printed
    assert "delay_ns 0.2500" in printed
    assert any(line.startswith("delay: OpenSTA ") for line in printed)
    assert any(re.fullmatch("delay: from [ab] to y", line) for line in printed)
    content = json.loads((out / "area_top.json").read_text())
    assert content["rows"][0]["delay_ns"] == 0.25
    assert content["context"]["timing"].startswith("OpenSTA ")


def test_no_delay(capsys, verilog, out):
    main(["--verilog", str(verilog), "--top", "top", "-o", str(out)])
    printed = capsys.readouterr().out
    assert "delay: none, library nmsparse_generic has no delays\n" in printed
    assert "delay_ns" not in printed


def test_estimate(capsys, verilog, out, delays, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    files = ["--verilog", str(verilog), "--liberty", str(delays.path)]
    main([*files, "--top", "top", "-o", str(out)])
    printed = capsys.readouterr().out
    assert re.search("^delay: estimate of abc in yosys .* not installed", printed, re.MULTILINE)
    assert "delay_ns 0.2500\n" in printed


def test_netlists(capsys, out):
    folder = out.parent / "netlists"
    main(f"--units decoder --patterns 2:4,1:3 --netlist {folder} -o {out}".split())
    names = ["nm_decoder_1_3_bitmap", "nm_decoder_2_4_bitmap"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.v" for name in names]
    for name in names:
        text = (folder / f"{name}.v").read_text()
        assert f"module {name}(" in text
        assert "nand2 cell_" in text
    assert capsys.readouterr().out.endswith(f"and {out / 'area.md'}, and 2 netlists to {folder}\n")


def test_baseline(capsys, verilog, out):
    main(["--verilog", str(verilog), "--top", "top", "-o", str(out)])
    baseline = out / "area_top.json"
    content = json.loads(baseline.read_text())
    content["rows"][0]["area"] = 2.0
    baseline.write_text(json.dumps(content))
    capsys.readouterr()
    # Read before it is written over.
    main(["--verilog", str(verilog), "--top", "top", "--baseline", str(baseline), "-o", str(out)])
    assert "1.0 ▼ -50.0 %" in capsys.readouterr().out
    assert json.loads(baseline.read_text())["rows"][0]["area"] == 1.0


def test_exported():
    assert callable(area)
    assert callable(areas)
    assert read_liberty(GENERIC).nand2_area == 1


def test_as_a_command(verilog, out):
    command = [sys.executable, "-m", "synth.report", "--verilog", verilog, "--top", "top"]
    done = subprocess.run(
        [*command, "-o", out], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "area_nand2 1.0000\n" in done.stdout
    failed = subprocess.run(
        [*command, "-o", verilog], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert failed.returncode == 2
    assert failed.stderr == (
        "python -m synth.report: error: argument -o/--output: must be a folder that can be "
        f"written to, not {str(verilog)!r}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--units selektor",
            "argument --units: must be a list such as pe,decoder of sparsifier, selector, "
            "encoder, decoder, decompressor, packer, unpacker, pe, statistics, "
            "correction, epilogue, not 'selektor'",
        ),
        (
            # Its memory would be mapped to registers.
            "--units scale_memory",
            "argument --units: must be a list such as pe,decoder of sparsifier, selector, encoder, "
            "decoder, decompressor, packer, unpacker, pe, statistics, "
            "correction, epilogue, not 'scale_memory'",
        ),
        (
            "--units pe,",
            "argument --units: must be a list such as pe,decoder of sparsifier, selector, "
            "encoder, decoder, decompressor, packer, unpacker, pe, statistics, "
            "correction, epilogue, not 'pe,'",
        ),
        (
            "--patterns 8-16",
            "argument --patterns: must be a list of patterns N:M such as 2:4,4:8,8:16,16:32, "
            "not '8-16'",
        ),
        ("--patterns 2:4,9:8", "argument --patterns: n must be between 1 and m = 8, not 9"),
        ("--patterns 0:8", "argument --patterns: n must be between 1 and m = 8, not 0"),
        ("--patterns 2:65", "argument --patterns: m must be between 2 and 64, not 65"),
        (
            "--dtype bf17",
            "argument --dtype: invalid choice: 'bf17' (choose from 'int4', 'int8', 'int16', "
            "'fp16', 'bf16', 'fp8_e4m3', 'fp8_e5m2')",
        ),
        (
            "--metadata runs",
            "argument --metadata: invalid choice: 'runs' (choose from 'bitmap', 'index', "
            "'bitmap-implied', 'enumerative')",
        ),
        ("--pipeline x", "argument --pipeline: must be a whole number, not 'x'"),
        (
            "--units encoder --pipeline -1",
            "argument --pipeline: must be between 0 and 32, not -1",
        ),
        ("--jobs 0", "argument --jobs: must be a whole number of at least 1, not '0'"),
        (
            "--flow best",
            "argument --flow: invalid choice: 'best' (choose from 'plain', 'bounded', 'timed')",
        ),
        (
            "--flow timed",
            "argument --flow: timed must be given a library with delays (--liberty), "
            "not nmsparse_generic",
        ),
        ("--top x", "argument --top: must not be given without --verilog"),
        ("--top 8x", "argument --top: must be the name of a module, not '8x'"),
        ("--verilog x.v", "argument --top: must be given with --verilog"),
        ("--verilog no.v --top x", "argument --verilog: must be a file, not 'no.v'"),
        (
            "--verilog no.v --top x --units pe",
            "argument --units: must not be given with --verilog",
        ),
        ("--unit pe", "unrecognized arguments: --unit pe"),
    ],
)
def test_refused(capsys, out, arguments, message):
    refused = fails(capsys, out, *arguments.split())
    # Python 3.12 and later quote choices in another way.
    assert refused.replace("'", "") == message.replace("'", "")


class TestRefusedFiles:
    def test_not_liberty(self, capsys, out, verilog):
        assert fails(capsys, out, "--liberty", verilog) == (
            "argument --liberty: must be a Liberty file: library (name) { ... }, "
            f"not {str(verilog)!r}: it does not start with a library"
        )

    def test_no_liberty(self, capsys, out, tmp_path):
        path = tmp_path / "none.lib"
        assert fails(capsys, out, "--liberty", path) == (
            f"argument --liberty: must be a file that can be read, not {str(path)!r}: "
            "No such file or directory"
        )

    def test_liberty_without_nand(self, capsys, out, tmp_path):
        path = tmp_path / "poor.lib"
        path.write_text("library (l) { cell (c) { area : 1; } }")
        assert fails(capsys, out, "--liberty", path) == (
            "argument --liberty: must hold a two-input NAND with an area, the unit of gate "
            f"equivalents, which {str(path)!r} does not"
        )

    def test_syntax(self, capsys, out, tmp_path):
        path = tmp_path / "wrong.v"
        path.write_text("module top(input a output y); endmodule\n")
        message = fails(capsys, out, "--verilog", path, "--top", "top")
        assert message.startswith(f"yosys failed: {path}:1: syntax error, unexpected TOK_OUTPUT")

    def test_top(self, capsys, out, verilog):
        message = fails(capsys, out, "--verilog", verilog, "--top", "other")
        assert message == "yosys failed: Module `other' not found!"

    @pytest.mark.parametrize("content", [None, "{}"])
    def test_baseline(self, capsys, out, tmp_path, content):
        path = tmp_path / "old.json"
        if content is None:
            message = f"{path}: No such file or directory"
        else:
            path.write_text(content)
            message = (
                "argument --baseline: must be an area report in JSON, as this command writes it, "
                f"not {str(path)!r}"
            )
        assert fails(capsys, out, "--baseline", path) == message

    def test_output_below_a_file(self, capsys, verilog):
        with pytest.raises(SystemExit) as caught:
            main(["--verilog", str(verilog), "--top", "top", "-o", str(verilog / "sub")])
        assert caught.value.code == 2
        assert capsys.readouterr().err == (
            "python -m synth.report: error: argument -o/--output: must be a folder that can be "
            f"written to, not {str(verilog / 'sub')!r}\n"
        )

    def test_netlists_below_a_file(self, capsys, out, verilog):
        assert fails(capsys, out, "--netlist", verilog / "sub") == (
            "argument --netlist: must be a folder that can be written to, "
            f"not {str(verilog / 'sub')!r}"
        )

    def test_broken_sta(self, capsys, out, verilog, delays, monkeypatch, tmp_path):
        program = tmp_path / "bin" / "sta"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho 1.2.3\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        files = ["--verilog", verilog, "--top", "top", "--liberty", delays.path]
        assert fails(capsys, out, *files) == (
            "top: OpenSTA ended without an error but left no result"
        )

    def test_folder_in_the_place_of_a_report(self, capsys, out, verilog):
        (out / "area_top.md").mkdir(parents=True)
        with pytest.raises(SystemExit) as caught:
            main(["--verilog", str(verilog), "--top", "top", "-o", str(out)])
        assert caught.value.code == 2
        assert capsys.readouterr().err == (
            f"python -m synth.report: error: {out / 'area_top.md'}: Is a directory\n"
        )
        assert [path.name for path in out.iterdir()] == ["area_top.md"]


@pytest.mark.slow
def test_every_unit(capsys, out):
    main(f"--patterns 4:8 -o {out}".split())
    rows = json.loads((out / "area.json").read_text())["rows"]
    assert [row["parameters"]["unit"] for row in rows] == [
        "sparsifier",
        "selector",
        "encoder",
        "decoder",
        "decompressor",
        "packer",
        "unpacker",
        "pe",
        "statistics",
        "correction",
        "epilogue",
    ]
    assert all(row["area"] > 0 for row in rows)
    areas_ = {row["parameters"]["unit"]: row["area"] for row in rows}
    assert areas_["sparsifier"] > areas_["selector"] > areas_["decoder"]
    assert len(capsys.readouterr().out.splitlines()) > 10
