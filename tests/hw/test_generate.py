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
    ("--n 2 --m 4 --pipeline x", "argument --pipeline: must be a whole number or auto, not 'x'"),
    (
        "--n 2 --m 4 --pipeline 1.5",
        "argument --pipeline: must be a whole number or auto, not '1.5'",
    ),
    (
        "--n 2 --m 4 --unit encoder --pipeline auto",
        "--pipeline must be a number unless in sparsifier or selector, not 'auto' in 'encoder'",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --pipeline auto",
        "--pipeline must be a number unless in sparsifier or selector, not 'auto' in 'pe'",
    ),
    (
        "--n 2 --m 4 --score-bits 16",
        "--score-bits must be between 1 and 15, the bits of a score of bf16, not 16",
    ),
    (
        "--n 2 --m 4 --dtype int4 --score-bits 0",
        "--score-bits must be between 1 and 4, the bits of a score of int4, not 0",
    ),
    ("--n 2 --m 4 --score-bits few", "argument --score-bits: invalid int value: 'few'"),
    ("--n 2 --flexible 2:4", "--n must not be given with --flexible"),
    ("--m 4 --flexible 2:4", "--m must not be given with --flexible"),
    ("--n 2 --m 4 --flexible 2:4", "--n must not be given with --flexible"),
    *(
        (
            f"--flexible {text}",
            "argument --flexible: must be a list of patterns N:M such as 2:4,4:8,8:16,16:32, "
            f"not {text!r}",
        )
        for text in ("2:4,", "2", "2:4;4:8", "2:4:8", "2:4,4/8", "x", "2.0:4")
    ),
    ("--flexible", "argument --flexible: expected one argument"),
    (
        "--flexible 2:4,4:8,2:4",
        "argument --flexible: must be different patterns, not '2:4,4:8,2:4'",
    ),
    (
        "--flexible 2:4,3:5",
        "--flexible must be patterns whose m divides the largest, 5, not 2:4",
    ),
    (
        "--flexible 2:4,9:8",
        "--flexible must be patterns n:m with 2 <= m <= 64 and 1 <= n <= m, not 9:8",
    ),
    (
        "--flexible 2:4 --unit pe --dtype int8",
        "--flexible must go with unit sparsifier, selector, tile or axi_tile, not 'pe'",
    ),
    (
        "--flexible 2:4 --selector threshold_serial",
        "--flexible must go with selector compare_matrix, not 'threshold_serial'",
    ),
    ("--flexible 2:4 --n-runtime", "--n-runtime must not be given with flexible"),
    (
        "--n 2 --m 4 --n-runtime --selector rank_merge",
        "--n-runtime must go with selector compare_matrix, not 'rank_merge'",
    ),
    (
        "--n 2 --m 4 --n-runtime --unit decoder",
        "--n-runtime must go with unit sparsifier or selector, not 'decoder'",
    ),
    (
        "--n 2 --m 4 --input-register --unit encoder",
        "--input-register must go with unit sparsifier or selector, not 'encoder'",
    ),
    ("--n 2 --m 4 --n-runtime yes", "unrecognized arguments: yes"),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --pipeline 0",
        "--pipeline must be between 1 and 32 in a pe, whose accumulator is a stage, not 0",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --weight-dtype bf16",
        "--weight-dtype must be one of int4, int8, int16 with the dtype int8, not 'bf16'",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --weight-select mask",
        "--weight-select must be one of mux, gather, dense-skip, not 'mask'",
    ),
    (
        "--n 2 --m 4 --unit decoder --weight-select gather",
        "--weight-select must go with unit pe, not 'decoder'",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --outstanding 2",
        "--outstanding must go with weight_select gather, not 'mux'",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --weight-select gather --outstanding 0",
        "--outstanding must be between 2 and 64, not 0",
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
        "--weight-dtype must go with --unit pe, tile or axi_tile, not 'sparsifier'",
    ),
    (
        "--n 2 --m 4 --unit encoder --acc-width 8",
        "--acc-width must go with --unit pe, tile, axi_tile or epilogue, not 'encoder'",
    ),
    (
        "--n 2 --m 4 --unit correction --acc-width 8",
        "--acc-width must go with --unit pe, tile, axi_tile or epilogue, not 'correction'",
    ),
    (
        "--n 2 --m 4 --unit epilogue --acc-width 8",
        "--acc-width must go with an integer --dtype, not 'bf16'",
    ),
    (
        "--n 2 --m 4 --unit epilogue --dtype int8 --acc-width 65",
        "--acc-width must be between 2 and 64, not 65",
    ),
    (
        "--n 2 --m 4 --unit statistics --dtype int8 --align-bits 20",
        "--align-bits must go with a float --dtype, not 'int8'",
    ),
    (
        "--n 2 --m 4 --unit epilogue --align-bits 20",
        "--align-bits must go with --unit pe, tile, axi_tile or statistics, not 'epilogue'",
    ),
    (
        "--n 2 --m 4 --unit epilogue --dtype int8 --overflow wrap",
        "--overflow must go with --unit pe, tile or axi_tile, not 'epilogue'",
    ),
    (
        "--n 2 --m 4 --unit selector --overflow wrap",
        "--overflow must go with --unit pe, tile or axi_tile, not 'selector'",
    ),
    (
        "--n 2 --m 4 --unit decoder --check on",
        "--check must go with --unit pe, tile or axi_tile, not 'decoder'",
    ),
    (
        "--n 2 --m 4 --word 64",
        "--word must go with --unit packer, unpacker or axi_tile, not 'sparsifier'",
    ),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --layout split",
        "--layout must go with --unit packer or unpacker, not 'pe'",
    ),
    *(
        (
            f"--n 2 --m 4 --unit {unit} --dtype int8 --depth 8",
            f"--depth must go with --unit scale_memory or axi_tile, not {unit!r}",
        )
        for unit in UNITS
        if unit not in ("scale_memory", "axi_tile")
    ),
    (
        "--n 2 --m 4 --unit axi_tile --dtype int8 --depth 8",
        "--depth must go with --criterion scaled in an axi_tile",
    ),
    (
        "--n 2 --m 4 --unit axi_tile --dtype int8 --shift lane",
        "--shift must be none or static in an axi_tile, not 'lane'",
    ),
    ("--n 2 --m 4 --rows 2", "--rows must go with --unit tile or axi_tile, not 'sparsifier'"),
    (
        "--n 2 --m 4 --unit pe --dtype int8 --cols 2",
        "--cols must go with --unit tile or axi_tile, not 'pe'",
    ),
    (
        "--n 2 --m 4 --unit tile --acc-width 20",
        "--acc-width must go with an integer --dtype, not 'bf16'",
    ),
    (
        "--n 2 --m 4 --depth 256",
        "--depth must go with --unit scale_memory or axi_tile, not 'sparsifier'",
    ),
    ("--n 2 --m 4 --unit scale_memory --depth 0", "--depth must be between 1 and 65536, not 0"),
    ("--n 2 --m 4 --unit scale_memory --depth x", "argument --depth: invalid int value: 'x'"),
    (
        "--n 2 --m 4 --unit scale_memory --word 64",
        "--word must go with --unit packer, unpacker or axi_tile, not 'scale_memory'",
    ),
    (
        "--n 2 --m 4 --unit scale_memory --pipeline 2",
        "--pipeline must be 1 in a scale_memory, whose memory is the stage, not 2",
    ),
    (
        "--n 2 --m 4 --scale-format u8",
        "--scale-format must go with criterion scaled or unit scale_memory, not 'act'",
    ),
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
        ("--n 2 --m 4 --unit scale_memory".split(), "nm_scale_memory_2_4_u8"),
        (
            "--n 2 --m 4 --unit scale_memory --scale-format pow2 --depth 3".split(),
            "nm_scale_memory_2_4_pow2",
        ),
        ("--n 2 --m 4 --unit correction --dtype int8".split(), "nm_correction_2_4_int8"),
        ("--n 2 --m 4 --unit epilogue".split(), "nm_epilogue_2_4_bf16"),
        ([*SMALL, "--name", "my_unit"], "my_unit"),
        ("--flexible 2:4,4:8".split(), "nm_sparsifier_flex8_bf16"),
        ("--flexible 2:3,3:9 --unit selector --dtype int4".split(), "nm_selector_flex9_int4"),
        ([*SMALL, "--n-runtime"], "nm_sparsifier_2_4_int4"),
        ([*SMALL, "--pipeline", "auto", "--unit", "selector"], "nm_selector_2_4_int4"),
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
    (
        "pe",
        ["--dtype", "int8", "--weight-select", "dense-skip", "--metadata", "index"],
        [("values", 3, 8, "int8", "slot"), INDEX, ("weights", 7, 8, "int8", "lane"), ("last",)],
        [("sum", 1, 32, "signed", "sum"), ("error",)],
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


def test_manifest_of_a_pe_that_asks_for_weights(tmp_path, capsys):
    """Two streams in, two out, each with its own handshake."""
    words = "--n 3 --m 7 --unit pe --dtype int8 --weight-dtype int4 --weight-select gather"
    generate(tmp_path, *words.split(), "--pipeline", "2")
    capsys.readouterr()
    manifest = json.loads((tmp_path / "nm_pe_3_7_int8_int4.json").read_text())
    assert manifest["latency_cycles"] == 3
    assert [(port["name"], port["direction"], port["width"]) for port in manifest["ports"]] == [
        ("clk", "input", 1),
        ("rst", "input", 1),
        ("i_valid", "input", 1),
        ("i_ready", "output", 1),
        ("i_values", "input", 24),
        ("i_meta", "input", 7),
        ("i_last", "input", 1),
        ("i_weights_valid", "input", 1),
        ("i_weights_ready", "output", 1),
        ("i_weights", "input", 12),
        ("o_valid", "output", 1),
        ("o_ready", "input", 1),
        ("o_sum", "output", 32),
        ("o_error", "output", 1),
        ("o_index_valid", "output", 1),
        ("o_index_ready", "input", 1),
        ("o_index", "output", 9),
    ]


FLEXIBLE_DATA = ("data", 8, 8, "int8", "lane")
RUN_TIME_PORTS = [
    (
        "--unit selector --flexible 2:4,4:8 --pipeline 0",
        [FLEXIBLE_DATA, ("pattern", 1, 1, "unsigned", None)],
        [("mask", 8, 1, "bit", "lane")],
        (0, 1),
    ),
    (
        "--flexible 1:4,2:4,2:8,6:8,8:8 --input-register",
        [FLEXIBLE_DATA, ("last",), ("pattern", 1, 3, "unsigned", None)],
        [("values", 8, 8, "int8", "slot"), ("meta", 8, 1, "bit", "lane"), ("last",)],
        (2, 1),
    ),
    (
        "--flexible 2:4,4:8,1:2 --metadata index",
        [FLEXIBLE_DATA, ("last",), ("pattern", 1, 2, "unsigned", None)],
        [("values", 4, 8, "int8", "slot"), ("meta", 12, 1, "bit", "bit"), ("last",)],
        (1, 1),
    ),
    (
        "--n 2 --m 8 --n-runtime --metadata index --pipeline 3",
        [FLEXIBLE_DATA, ("last",), ("n", 1, 4, "unsigned", None)],
        [("values", 8, 8, "int8", "slot"), ("meta", 8, 3, "unsigned", "index"), ("last",)],
        (3, 1),
    ),
    (
        "--unit selector --n 2 --m 8 --n-runtime --score-bits 2",
        [FLEXIBLE_DATA, ("n", 1, 4, "unsigned", None)],
        [("mask", 8, 1, "bit", "lane")],
        (1, 1),
    ),
    (
        "--unit selector --n 2 --m 8 --selector threshold_serial",
        [FLEXIBLE_DATA],
        [("mask", 8, 1, "bit", "lane")],
        (1, 12),
    ),
]


@pytest.mark.parametrize(
    ("words", "inputs", "outputs", "cycles"),
    RUN_TIME_PORTS,
    ids=[words for words, *_ in RUN_TIME_PORTS],
)
def test_manifest_of_selections(words, inputs, outputs, cycles, tmp_path, capsys):
    generate(tmp_path, *words.split(), "--dtype", "int8")
    (path,) = tmp_path.glob("*.json")
    manifest = json.loads(path.read_text())
    assert manifest["ports"] == stream_ports(inputs, outputs)
    assert (manifest["latency_cycles"], manifest["initiation_interval"]) == cycles
    parameters = manifest["parameters"]
    assert ("flexible" in parameters) == ("--flexible" in words)
    assert ("n" in parameters and "m" in parameters) == ("--flexible" not in words)
    for option in ("n_runtime", "input_register"):
        given = f"--{option.replace('_', '-')}" in words
        assert parameters.get(option, False) is given
    text = path.with_suffix(".v").read_text()
    table = capsys.readouterr().out
    for name in (port["name"] for port in manifest["ports"]):
        assert f"  {name}" in text
        assert name in table


def test_manifest_of_a_scale_memory(tmp_path, capsys):
    generate(tmp_path, *"--n 3 --m 7 --unit scale_memory --scale-format bf16 --depth 5".split())
    manifest = json.loads((tmp_path / "nm_scale_memory_3_7_bf16.json").read_text())
    scale = ("scale", 7, 15, "bf16", "lane")
    tokens = ("tokens", 1, 32, "unsigned", None)
    assert manifest["ports"] == stream_ports([scale, ("last",), tokens], [scale, ("last",)])
    assert (manifest["latency_cycles"], manifest["initiation_interval"]) == (2, 1)
    assert manifest["parameters"] == {
        "unit": "scale_memory", "n": 3, "m": 7, "scale_format": "bf16", "depth": 5,
    }  # fmt: skip
    capsys.readouterr()


def fp32_port(name):
    return (name, 1, 32, "fp32", name.removeprefix("kept_"))


STATISTICS = ("sum", "squares", "kept_sum", "kept_squares")
INTEGERS = {"sum": (1, 32, "signed", "sum"), "squares": (1, 48, "unsigned", "squares")}
FEATURES = ("features", 1, 17, "unsigned", None)
OFFSETS = [fp32_port(name) for name in ("ratio", "gain", "shift", "row_sum", "bias")]
TOKEN_PORTS = [
    ("correction", [], [*map(fp32_port, STATISTICS), FEATURES], ["ratio", "mean"], (2, 61)),
    (
        "correction",
        ["--dtype", "int4"],
        [*((name, *INTEGERS[name.removeprefix("kept_")]) for name in STATISTICS), FEATURES],
        ["ratio", "mean"],
        (2, 61),
    ),
    ("epilogue", [], [fp32_port("sum"), *OFFSETS, ("last",), ("error",)], ["result"], (2, 1)),
    (
        "epilogue",
        ["--dtype", "int8", "--acc-width", "24"],
        [("sum", 1, 24, "signed", "sum"), *OFFSETS, ("last",), ("error",)],
        ["result"],
        (2, 1),
    ),
]


@pytest.mark.parametrize(("unit", "words", "inputs", "outputs", "cycles"), TOKEN_PORTS)
def test_manifest_behind_the_pe(unit, words, inputs, outputs, cycles, tmp_path, capsys):
    generate(tmp_path, *"--n 3 --m 7 --pipeline 2 --unit".split(), unit, *words)
    (path,) = tmp_path.glob("*.json")
    manifest = json.loads(path.read_text())
    results = [fp32_port(name) for name in outputs]
    if unit == "epilogue":
        results += [("last",), ("error",)]
    assert manifest["ports"] == stream_ports(inputs, results)
    assert (manifest["latency_cycles"], manifest["initiation_interval"]) == cycles
    assert manifest["parameters"] == {
        "unit": unit, "n": 3, "m": 7, "dtype": words[1] if words else "bf16", "pipeline": 2,
    } | ({"acc_width": 24} if "24" in words else {})  # fmt: skip
    capsys.readouterr()


@pytest.mark.parametrize(
    "words",
    [
        "--flexible 4:8,2:4 --unit selector --goal delay",
        "--n 3 --m 7 --unit correction --pipeline 2",
        "--n 3 --m 7 --unit epilogue --dtype int8 --acc-width 20 --pipeline 3",
        "--n 3 --m 7 --n-runtime --input-register --metadata index",
        "--n 3 --m 7 --score-bits 5 --goal area --pipeline auto",
        "--n 3 --m 7 --unit selector --selector threshold_serial --pipeline 2",
        "--n 3 --m 7 --unit scale_memory --depth 11",
    ],
)
def test_command_of_selections_makes_the_same_bytes(words, tmp_path, capsys):
    generate(tmp_path / "first", *words.split())
    (path,) = (tmp_path / "first").glob("*.json")
    command = json.loads(path.read_text())["command"]
    generate(tmp_path / "second", *command.split()[3:])
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    # The canonical command makes itself.
    assert "auto" not in command
    assert "--goal" not in command
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
