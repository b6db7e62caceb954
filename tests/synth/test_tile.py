"""The study of tiles, with made-up tools."""

import json

import pytest

from hw.config import UnitConfig
from synth.area import Design, area
from synth.process import SynthesisError
from synth.tile_report import dense_of
from tests.synth.test_codes import section
from tests.synth.tiny_study import Tools, refused

pytestmark = pytest.mark.usefixtures("committed")

#: Area of each part, sparse and dense, and its delay.
PARTS = {
    "row": ((30.0, 10.0), 3.0),
    "column": ((20.0, 20.0), 2.0),
    "join": ((1.0, 1.0), 0.5),
    "pe": ((100.0, 190.0), 9.0),
}

#: That of PEs which decode by themselves.
OWN = {"bitmap": 110.0, "index": 105.0, "enumerative": 120.0}

#: The whole tile of one row and two columns: 30 + 40 + 1 + 200, less what is shared; and dense.
WHOLE = (270.0, 450.0)


class TileTools(Tools):
    """Costs by what a part is."""

    @staticmethod
    def key(config):
        return config.unit, config.n == config.m, config.metadata

    @staticmethod
    def sequential(config):  # noqa: ARG004 - of others it depends on the unit
        return 5.0

    def area(self, design, *, library, flow, cancel):
        # A part has the configuration of its tile, and only its own lines.
        self.part = None
        if design.top != design.config.top:
            self.part = design.top.removeprefix(f"{design.config.top}_")
            assert design.verilog.count("endmodule") == 1
            assert f"module {design.top}(" in design.verilog
        return super().area(design, library=library, flow=flow, cancel=cancel)

    def cost(self, design, flow):
        assert flow == "bounded"
        config = design.config
        if self.part is not None:
            areas, delay = PARTS[self.part]
            return areas[config.is_dense], delay
        if config.unit == "pe":
            assert not config.check
            return OWN[config.metadata], 10.0
        assert (config.rows, config.cols) == (1, 2)
        return WHOLE[config.is_dense], 11.0


@pytest.fixture
def tools(use_tools):
    return use_tools(TileTools())


@pytest.fixture
def run(run_study, tools):  # noqa: ARG001 - in their places
    def run(*more, status=0):
        words = "--patterns", "1:2", "--dtype", "int4", "--sizes", "1x2,3x4", "--flat", "1x2"
        return run_study("tile", *words, *more, status=status)

    return run


def test_parts(run):
    assert section(run(), "Parts") == [
        "2:2 row 10.0 10.0 5.0 3.000",
        "2:2 column 20.0 20.0 5.0 2.000",
        "2:2 join 1.0 1.0 5.0 0.500",
        "2:2 pe 190.0 190.0 5.0 9.000",
        "1:2 row 30.0 30.0 5.0 3.000",
        "1:2 column 20.0 20.0 5.0 2.000",
        "1:2 join 1.0 1.0 5.0 0.500",
        "1:2 pe 100.0 100.0 5.0 9.000",
    ]


def test_decoders(run):
    assert section(run(), "PEs that decode themselves") == [
        "1:2 bitmap 110.0 110.0 5.0 10.000 1.100",
        "1:2 index 105.0 105.0 5.0 10.000 1.050",
        "1:2 enumerative 120.0 120.0 5.0 10.000 1.200",
    ]


def test_sums(run, out):
    """R rows, C columns, R * C PEs, one join."""
    dense, sparse = 10 + 2 * 20 + 1 + 2 * 190, 30 + 2 * 20 + 1 + 2 * 100
    larger_dense = 3 * 10 + 4 * 20 + 1 + 12 * 190
    larger = 3 * 30 + 4 * 20 + 1 + 12 * 100
    assert section(run(), "Tiles") == [
        f"1 x 2 2:2 {dense} 1.000 {10 / dense:.2%} {40 / dense:.2%} {380 / dense:.2%}",
        f"1 x 2 1:2 {sparse} {sparse / dense:.3f} {30 / sparse:.2%} {40 / sparse:.2%} "
        f"{200 / sparse:.2%}",
        f"3 x 4 2:2 {larger_dense:,} 1.000 {30 / larger_dense:.2%} {80 / larger_dense:.2%} "
        f"{2280 / larger_dense:.2%}",
        f"3 x 4 1:2 {larger:,} {larger / larger_dense:.3f} {90 / larger:.2%} {80 / larger:.2%} "
        f"{1200 / larger:.2%}",
    ]
    tiles = json.loads((out / "tile.json").read_text())["tiles"]
    assert tiles[3] == {
        "pattern": "1:2",
        "rows": 3,
        "cols": 4,
        "area": larger,
        "of_dense": round(larger / larger_dense, 6),
        "shares": {
            "row": round(90 / larger, 6),
            "column": round(80 / larger, 6),
            "join": round(1 / larger, 6),
            "pe": round(1200 / larger, 6),
        },
    }


def test_as_a_whole(run, out):
    assert section(run(), "As a whole") == [
        f"1 x 2 2:2 450.0 450.0 5.0 11.000 431 {431 / 450 - 1:+.2%}",
        f"1 x 2 1:2 270.0 270.0 5.0 11.000 271 {271 / 270 - 1:+.2%}",
    ]
    whole = json.loads((out / "tile.json").read_text())["whole"]
    assert whole[1] == {
        "pattern": "1:2", "rows": 1, "cols": 2, "area": 270.0, "sum": 271.0,
        "difference": round(271 / 270 - 1, 6),
    }  # fmt: skip


def test_command(run, out):
    command = (
        "python -m synth.report tile --patterns 1:2 --dtype int4 --weight-dtype int8 --pipeline 2 "
        "--sizes 1x2,3x4 --flat 1x2 --flow bounded --liberty delays.lib"
    )
    assert f"command: {command}" in run("--weight-dtype", "int8", "--pipeline", 2)
    assert (out / "tile.md").read_text().startswith("# Tiles\n\n- tool: ")


def test_a_part_that_fails(run, tools):
    """Only the sums that need it are missing."""
    tools.failures["tile", True, "bitmap"] = SynthesisError("no luck")
    lines = run(status=1)
    rows = section(lines, "Tiles")
    assert rows[0] == "1 x 2 2:2 - - - - -"
    assert rows[1].startswith("1 x 2 1:2 271 - ")
    assert "2:2 pe - - - - failed: no luck" in section(lines, "Parts")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dtype", "bf16", "--weight-dtype", "int8"], "argument --weight-dtype: must be one of "
         "fp16, bf16, fp8_e4m3, fp8_e5m2 with the dtype bf16, not 'int8'"),
        (["--weight-dtype", "u8"], "argument --weight-dtype: must be one of int4, int8, int16, "
         "fp16, bf16, fp8_e4m3, fp8_e5m2, not 'u8'"),
        (["--pipeline", "33"], "argument --pipeline: must be between 1 and 32 in a tile, whose "
         "sums are a stage, not 33"),
        (["--sizes", "0x4"], "argument --sizes: rows must be between 1 and 64, not 0"),
        (["--flat", "1x257"], "argument --sizes: cols must be between 1 and 256, not 257"),
        (["--sizes", "4"], "argument --sizes: must be none or a list of rows x columns such as "
         "2x4,4x64, not '4'"),
    ],
)  # fmt: skip
def test_refused(words, message, capsys, delays):
    assert refused(capsys, "tile", "--liberty", delays.path, *words) == message


def test_the_sum_is_the_whole(generic):
    """Real tools: a small tile as a whole is within 3 % of its parts."""
    from hw.emit import emit
    from hw.units.tile import part_counts

    tile = UnitConfig(n=2, m=4, unit="tile", dtype="int8", rows=2, cols=2)
    for config in (tile, dense_of(tile)):
        counts = part_counts(config)
        parts = emit(config).parts
        total = sum(
            counts[name.removeprefix(f"{config.top}_")]
            * area(Design(verilog, name), library=generic).area
            for name, verilog in parts.items()
        )
        assert total == pytest.approx(area(config, library=generic).area, rel=0.03)
