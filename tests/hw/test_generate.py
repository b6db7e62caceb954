import json
from pathlib import Path

import pytest

import hw.files
from hw.config import METADATA, SELECTORS, UNITS
from hw.formats import FORMATS
from hw.generate import main

SMALL = ["--n", "2", "--m", "4", "--dtype", "int4"]
PROG = "python -m hw.generate"


def generate(folder: Path, *words: str) -> None:
    assert main([*words, "-o", str(folder)]) == 0


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The line that a bad command line gives, without the program's name."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"{PROG}: error: ")
    return err.removeprefix(f"{PROG}: error: ").removesuffix("\n")


BAD = [
    ("--n 5 --m 4", "--n must be between 1 and m = 4, not 5"),
    ("--n 0 --m 4", "--n must be between 1 and m = 4, not 0"),
    ("--n -1 --m 4", "--n must be between 1 and m = 4, not -1"),
    ("--n 1 --m 1", "--m must be between 2 and 64, not 1"),
    ("--n 1 --m 65", "--m must be between 2 and 64, not 65"),
    ("--n 2.5 --m 4", "argument --n: invalid int value: '2.5'"),
    ("--n 2 --m four", "argument --m: invalid int value: 'four'"),
    ("--n 2", "the following arguments are required: --m"),
    ("--n 2 --m", "argument --m: expected one argument"),
    ("--n 2 --m 4 --unit sorter", f"--unit must be one of {', '.join(UNITS)}, not 'sorter'"),
    ("--n 2 --m 4 --dtype fp32", f"--dtype must be one of {', '.join(FORMATS)}, not 'fp32'"),
    (
        "--n 2 --m 4 --selector bubble",
        f"--selector must be one of auto, {', '.join(SELECTORS)}, not 'bubble'",
    ),
    ("--n 2 --m 4 --goal power", "--goal must be one of area, delay, density, not 'power'"),
    (
        "--n 2 --m 4 --metadata ranks",
        f"--metadata must be one of {', '.join(METADATA)}, not 'ranks'",
    ),
    ("--n 2 --m 4 --pipeline -1", "--pipeline must be between 0 and 32, not -1"),
    ("--n 2 --m 4 --pipeline 33", "--pipeline must be between 0 and 32, not 33"),
    ("--n 2 --m 4 --pipeline x", "argument --pipeline: invalid int value: 'x'"),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --pipeline 0",
        "--pipeline must be between 1 and 32 in a pe, whose accumulator is a stage, not 0",
    ),
    (
        "--n 2 --m 4 --unit pe",
        "--dtype must be one of int4, int8, int16 in a pe, not 'bf16', the default",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --weight-dtype bf16",
        "--weight-dtype must be one of int4, int8, int16 in a pe, not 'bf16'",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --acc-width 1",
        "--acc-width must be between 2 and 64, not 1",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --overflow trap",
        "--overflow must be one of wrap, saturate, not 'trap'",
    ),
    (
        "--n 2 --m 4 --weight-dtype int4",
        "--weight-dtype must go with --unit pe, not 'sparsifier'",
    ),
    (
        "--n 2 --m 4 --unit encoder --acc-width 8",
        "--acc-width must go with --unit pe, not 'encoder'",
    ),
    (
        "--n 2 --m 4 --unit selector --overflow wrap",
        "--overflow must go with --unit pe, not 'selector'",
    ),
    ("--n 2 --m 4 --unit decoder --check on", "--check must go with --unit pe, not 'decoder'"),
    (
        "--n 2 --m 4 --name wire",
        "--name must be a Verilog identifier and no keyword, not 'wire'",
    ),
    (
        "--n 2 --m 4 --name ../up",
        "--name must be a Verilog identifier and no keyword, not '../up'",
    ),
    ("--n 2 --m 4 --colour red", "unrecognized arguments: --colour red"),
    ("--n 2 --m 4 --pipe 2", "unrecognized arguments: --pipe 2"),
    ("--n 2 --m 4 stray", "unrecognized arguments: stray"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[words for words, _ in BAD])
def test_bad_arguments(words, message, tmp_path, capsys):
    folder = tmp_path / "build"
    assert refused(capsys, *words.split(), "-o", str(folder)) == message
    assert list(tmp_path.iterdir()) == []


def test_bad_check(tmp_path, capsys):
    words = [*"--n 2 --m 4 --unit pe --dtype int8 --check maybe -o".split(), str(tmp_path)]
    message = refused(capsys, *words)
    # The list of choices is argparse's, whose quotes differ between versions of Python.
    assert message.replace("'", "") == (
        "argument --check: invalid choice: maybe (choose from on, off)"
    )
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_unit(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(f"{unit}:" in out for unit in UNITS)


@pytest.mark.parametrize(
    ("below", "reason"), [("file", "File exists"), ("file/build", "Not a directory")]
)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_output_below_a_file(below, reason, force, tmp_path, capsys):
    (tmp_path / "file").write_text("keep me")
    folder = str(tmp_path / below)
    assert refused(capsys, *SMALL, *force, "-o", folder) == (
        f"--output must be a writable folder, not {folder!r} ({reason})"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "keep me"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_output_with_a_name_too_long(force, tmp_path, capsys):
    folder = str(tmp_path / ("x" * 300))
    assert refused(capsys, *SMALL, *force, "-o", folder) == (
        f"--output must be a writable folder, not {folder!r} (File name too long)"
    )


@pytest.mark.parametrize("ending", ["v", "json"])
def test_a_folder_in_the_place_of_a_file(ending, tmp_path, capsys):
    place = tmp_path / f"nm_sparsifier_2_4_int4.{ending}"
    place.mkdir()
    message = refused(capsys, *SMALL, "--force", "-o", str(tmp_path))
    assert message == (
        f"--output must be a writable folder, not {str(tmp_path)!r} (Is a directory)"
    )
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    ("words", "top"),
    [
        (SMALL, "nm_sparsifier_2_4_int4"),
        ([*SMALL, "--unit", "selector"], "nm_selector_2_4_int4"),
        ([*SMALL, "--unit", "encoder"], "nm_encoder_2_4_bitmap"),
        ([*SMALL, "--unit", "decoder", "--metadata", "index"], "nm_decoder_2_4_index"),
        (["--n", "2", "--m", "4", "--unit", "pe", "--dtype", "int8"], "nm_pe_2_4_int8"),
        (
            "--n 2 --m 4 --unit pe --dtype int8 --weight-dtype int4".split(),
            "nm_pe_2_4_int8_int4",
        ),
        ([*SMALL, "--name", "my_unit"], "my_unit"),
    ],
)
def test_files(words, top, tmp_path, capsys):
    folder = tmp_path / "new" / "build"
    generate(folder, *words)
    assert sorted(path.name for path in folder.iterdir()) == [f"{top}.json", f"{top}.v"]
    manifest = json.loads((folder / f"{top}.json").read_text())
    assert manifest["top"] == top
    assert f"\nmodule {top}(\n" in (folder / f"{top}.v").read_text()
    table = capsys.readouterr().out
    assert top in table
    assert all(port["name"] in table for port in manifest["ports"])
    assert f"wrote {folder / f'{top}.v'} and {folder / f'{top}.json'}" in table


def test_default_folder_is_build(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--n", "1", "--m", "2"]) == 0
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == ["build/nm_sparsifier_1_2_bf16.json", "build/nm_sparsifier_1_2_bf16.v"]
    capsys.readouterr()


def port(name, direction, *content):
    count, width, reading, element = content or (1, 1, "bit", None)
    element = element or {"clk": "clock", "rst": "reset"}.get(name, name.removeprefix("i_"))
    element = element.removeprefix("o_")
    return {
        "name": name,
        "direction": direction,
        "width": count * width,
        "fields": [
            {"name": element, "count": count, "width": width, "format": reading, "offset": 0}
        ],
    }


def stream_ports(inputs, outputs):
    """All ports of a unit with one stream in and one out, in the order of the manifest."""
    return [
        port("clk", "input"),
        port("rst", "input"),
        port("i_valid", "input"),
        port("i_ready", "output"),
        *(port(f"i_{name}", "input", *content) for name, *content in inputs),
        port("o_valid", "output"),
        port("o_ready", "input"),
        *(port(f"o_{name}", "output", *content) for name, *content in outputs),
    ]


BITMAP = ("meta", 7, 1, "bit", "lane")
INDEX = ("meta", 3, 3, "unsigned", "index")
MASK = ("mask", 7, 1, "bit", "lane")
UNIT_PORTS = [
    (
        "selector",
        ["--dtype", "fp8_e4m3"],
        [("data", 7, 8, "fp8_e4m3", "lane")],
        [MASK],
    ),
    ("encoder", [], [MASK], [BITMAP]),
    ("encoder", ["--metadata", "index"], [MASK], [INDEX]),
    ("decoder", [], [BITMAP], [MASK, ("error",)]),
    ("decoder", ["--metadata", "index"], [INDEX], [MASK, ("error",)]),
    (
        "sparsifier",
        ["--metadata", "index"],
        [("data", 7, 16, "bf16", "lane"), ("last",)],
        [("values", 3, 16, "bf16", "slot"), INDEX, ("last",)],
    ),
    (
        "pe",
        ["--dtype", "int8", "--weight-dtype", "int4", "--acc-width", "24"],
        [
            ("values", 3, 8, "int8", "slot"),
            BITMAP,
            ("weights", 7, 4, "int4", "lane"),
            ("last",),
        ],
        [("sum", 1, 24, "signed", "sum"), ("error",)],
    ),
]


@pytest.mark.parametrize(
    ("unit", "words", "inputs", "outputs"),
    UNIT_PORTS,
    ids=[" ".join([unit, *words]) for unit, words, _, _ in UNIT_PORTS],
)
def test_manifest(unit, words, inputs, outputs, tmp_path, capsys):
    generate(tmp_path, "--n", "3", "--m", "7", "--unit", unit, "--pipeline", "2", *words)
    (path,) = tmp_path.glob("*.json")
    text = path.read_text()
    manifest = json.loads(text)
    assert list(manifest) == [
        "top",
        "unit",
        "parameters",
        "ports",
        "latency_cycles",
        "initiation_interval",
        "command",
        "tools",
    ]
    assert manifest["top"] == path.stem
    assert manifest["unit"] == manifest["parameters"]["unit"] == unit
    assert manifest["ports"] == stream_ports(inputs, outputs)
    assert (manifest["latency_cycles"], manifest["initiation_interval"]) == (2, 1)
    assert set(manifest["tools"]) == {"nmsparse", "amaranth", "yosys"}
    assert str(tmp_path) not in text
    command = manifest["command"].split()
    assert command[:3] == PROG.split()
    assert not {"-o", "--output", "--force", "--goal"} & set(command)
    assert "/" not in manifest["command"]
    capsys.readouterr()


def test_command_makes_the_same_bytes(tmp_path, capsys):
    words = [*SMALL, "--selector", "auto", "--goal", "area"]
    generate(tmp_path / "first", *words, "--name", "unit_a")
    command = json.loads((tmp_path / "first/unit_a.json").read_text())["command"]
    generate(tmp_path / "second", *command.split()[3:])
    for name in ("unit_a.v", "unit_a.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    capsys.readouterr()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_command_overwrites(tmp_path, capsys):
    generate(tmp_path, *SMALL)
    first = contents(tmp_path)
    (tmp_path / "nm_sparsifier_2_4_int4.v").write_text("damaged")
    generate(tmp_path, *SMALL)
    # A missing half is no other command's either.
    (tmp_path / "nm_sparsifier_2_4_int4.v").unlink()
    generate(tmp_path, *SMALL)
    assert contents(tmp_path) == first
    capsys.readouterr()


def test_another_command_needs_force(tmp_path, capsys):
    generate(tmp_path, *SMALL)
    first = contents(tmp_path)
    capsys.readouterr()
    other = [*SMALL, "--pipeline", "2", "-o", str(tmp_path)]
    assert refused(capsys, *other) == (
        f"--force must be given to overwrite {tmp_path / 'nm_sparsifier_2_4_int4.v'},"
        " which another command made"
    )
    assert contents(tmp_path) == first
    assert main([*other, "--force"]) == 0
    second = contents(tmp_path)
    assert second.keys() == first.keys()
    assert all(second[name] != first[name] for name in first)
    assert json.loads(second["nm_sparsifier_2_4_int4.json"])["latency_cycles"] == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    "manifest", [None, "", "{}", "[]", "null", "{broken", '{"command": null}', "\N{SNOWMAN}"]
)
def test_a_file_of_unknown_origin_needs_force(manifest, tmp_path, capsys):
    verilog = tmp_path / "nm_sparsifier_2_4_int4.v"
    verilog.write_text("// by hand")
    if manifest is not None:
        verilog.with_suffix(".json").write_text(manifest, encoding="utf-8")
    before = contents(tmp_path)
    assert refused(capsys, *SMALL, "-o", str(tmp_path)) == (
        f"--force must be given to overwrite {verilog}, which another command made"
    )
    assert contents(tmp_path) == before


def test_a_lone_foreign_manifest_needs_force(tmp_path, capsys):
    manifest = tmp_path / "nm_sparsifier_2_4_int4.json"
    manifest.write_bytes(b"\xff\xfe")
    assert refused(capsys, *SMALL, "-o", str(tmp_path)) == (
        f"--force must be given to overwrite {manifest}, which another command made"
    )
    assert contents(tmp_path) == {manifest.name: b"\xff\xfe"}


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failing_write_leaves_nothing(failing, tmp_path, monkeypatch, capsys):
    """The disk is full at the first or the second of the two files."""
    real, calls = hw.files.os.fdopen, []

    def fdopen(handle, mode):
        calls.append(handle)
        file = real(handle, mode)
        if len(calls) == failing:
            file.close()
            raise OSError(28, "No space left on device")
        return file

    generate(tmp_path, *SMALL)
    before = contents(tmp_path)
    capsys.readouterr()
    monkeypatch.setattr(hw.files.os, "fdopen", fdopen)
    words = [*SMALL, "--pipeline", "0", "--force", "-o", str(tmp_path)]
    assert refused(capsys, *words) == (
        f"--output must be a writable folder, not {str(tmp_path)!r} (No space left on device)"
    )
    assert len(calls) == failing
    assert contents(tmp_path) == before


def test_files_have_the_usual_mode(tmp_path, capsys):
    generate(tmp_path, *SMALL)
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {
        (tmp_path / "plain").stat().st_mode
    }
    capsys.readouterr()
