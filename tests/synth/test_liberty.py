import gzip
import re

import pytest

from synth.liberty import GENERIC, LibertyError, is_compressed, read_liberty, unpack

LIBRARY = """
/* a { brace in a comment */
library ("test") {  // and another }
  define (odd, cell, string);
  time_unit : "1ns";
  capacitive_load_unit (1.0, "pf");
  lu_table_template (t) { variable_1 : a; index_1 ("1, 2"); }
  cell ("nand_2") {
    area : 3.0;
    pin ("A") { direction : "input"; }
    pin (B) { direction : input; timing () { values ("1, \\
      2 }"); } }
    pin (Y) { direction : output; function : "(!A) | (!B)"; }
  }
  cell (nand_1) { area : 1.5
    dont_use : true;
    pin (A, B) { direction : input; }
    pin (Y) { direction : output; function : "(A B)'"; }
  }
  cell (and_1) { area : 1; pin (A, B) { direction : input; }
    pin (Y) { direction : output; function : "A B"; } }
  cell (nand_z) { area : 1; pin (A, B) { direction : input; }
    pin (Y) { direction : output; function : "!(A B)"; three_state : "A"; } }
  cell (flop) {
    area : 6.25e0;
    ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }
    bundle (Q) { members (Q0, Q1); direction : output;
      pin (Q0) { function : "IQ"; } pin (Q1) { function : "IQN"; } }
    pin (C) { direction : input; } pin (D) { direction : input; }
    test_cell () { pin (T) { direction : input; } }
  }
  cell (nothing) { pin (A) { } };
}
"""


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "test.lib"
    path.write_text(LIBRARY)
    return read_liberty(path)


def test_facts(library):
    assert library.name == "test"
    assert library.area_unit == "um2"
    assert list(library.cells) == ["nand_2", "nand_1", "and_1", "nand_z", "flop", "nothing"]
    assert [cell.area for cell in library.cells.values()] == [3.0, 1.5, 1.0, 1.0, 6.25, None]
    assert [name for name, cell in library.cells.items() if cell.sequential] == ["flop"]
    assert [name for name, cell in library.cells.items() if cell.dont_use] == ["nand_1"]
    flop = library.cells["flop"]
    assert flop.inputs == ["C", "D"]
    assert flop.outputs == ["Q0", "Q1", "Q"]
    assert flop.pins["Q1"].function == "IQN"


def test_times(library, generic, delays, tmp_path):
    nand = library.cells["nand_2"]
    assert [pin.name for pin in nand.pins.values() if pin.timed] == ["B"]
    # Delays are those of outputs.
    assert not nand.timed
    assert not library.has_delays
    assert not generic.has_delays
    assert delays.has_delays
    # Latches have no setup times there.
    assert [name for name, cell in delays.cells.items() if not cell.timed] == ["latch"]
    # A cell without inputs has no paths to time.
    path = tmp_path / "tie.lib"
    path.write_text("library (l) { cell (tie) { pin (Y) { direction : output; } } }")
    assert read_liberty(path).cells["tie"].timed


def test_clocks(library, generic):
    assert library.cells["flop"].clocks == ("C",)
    assert library.cells["nand_2"].clocks == ()
    clocks = {name: cell.clocks for name, cell in generic.cells.items() if cell.sequential}
    assert clocks == {"latch": ("G",), "dff": ("CK",), "dffr": ("CK",)}


def test_other_clocks(tmp_path):
    path = tmp_path / "clocks.lib"
    path.write_text("""library (l) {
      cell (gate) { statetable ("CK G", "IQ") { table : "L L : - : L"; }
        pin (CK) { direction : input; clock : true; }
        pin (G) { direction : input; clock : false; } }
      cell (two) { ff (IQ, IQN) { clocked_on : "C1 & !C2"; more () { } clocked_on_also : "C3'"; }
        pin (D) { } pin (C1) { } pin (C2) { } pin (C3) { } } }""")
    cells = read_liberty(path).cells
    assert cells["gate"].clocks == ("CK",)
    assert cells["two"].clocks == ("C1", "C2", "C3")


def test_sky130_times(sky130):
    assert sky130.has_delays
    assert all(cell.timed for cell in sky130.cells.values())
    flop = sky130.cells["sky130_fd_sc_hd__dfrtn_1"]
    assert flop.clocks == ("CLK_N",)


def test_unpack(tmp_path):
    plain = tmp_path / "a.lib"
    plain.write_bytes(GENERIC.read_bytes())
    assert unpack(plain, tmp_path / "nowhere") == plain
    compressed = tmp_path / "a.lib.gz"
    compressed.write_bytes(gzip.compress(plain.read_bytes()))
    unpacked = unpack(compressed, tmp_path)
    assert unpacked.parent == tmp_path
    assert unpacked.read_bytes() == plain.read_bytes()


def test_nand2_is_by_function(library):
    assert [name for name, cell in library.cells.items() if cell.is_nand2] == ["nand_2", "nand_1"]
    # The smaller one must not be used.
    assert library.nand2.name == "nand_2"
    assert library.nand2_area == 3.0


def test_no_nand2(tmp_path):
    path = tmp_path / "and.lib"
    path.write_text("library (l) { cell (c) { area : 1; pin (A) { direction : input; } } }")
    with pytest.raises(LibertyError) as caught:
        read_liberty(path).nand2  # noqa: B018 - the property raises
    assert str(caught.value) == (
        "liberty must hold a two-input NAND with an area, the unit of gate equivalents, "
        f"which {str(path)!r} does not"
    )


def test_compressed(tmp_path, library):
    # By content: the name says nothing.
    path = tmp_path / "compressed.lib"
    path.write_bytes(gzip.compress(LIBRARY.encode()))
    assert is_compressed(path)
    assert not is_compressed(library.path)
    assert read_liberty(path).cells == library.cells


def test_line_ends(tmp_path, library):
    path = tmp_path / "dos.lib"
    path.write_bytes(LIBRARY.replace("\n", "\r\n").encode())
    assert read_liberty(path).cells == library.cells


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it does not start with a library"),
        (b"# a page of text\n", "it does not start with a library"),
        (b"\x7fELF\x00\xff", "it does not start with a library"),
        (b"library : x;", "it does not start with a library"),
        (b"cell (c) { }", "it does not start with a library"),
        (b"library (l) { }", "it has no cells"),
        (b"library (l) { cell (c) { area : 1; }", "it ends inside of library l"),
        (b"library (l) { cell (c) { area : 1; pin (A) {", "it ends inside of pin A"),
        (b"library (l) { table (t) { { }", "it ends inside of table (t)"),
        (b"library (l) {\n cell (c) {\n  ???\n } }", "line 3 is no Liberty statement"),
        (b"library (l) { cell (c) { area : big; } }", "the area of cell c is 'big', no number"),
    ],
)
def test_not_liberty(tmp_path, content, why):
    path = tmp_path / "wrong.lib"
    path.write_bytes(content)
    with pytest.raises(LibertyError) as caught:
        read_liberty(path)
    rule = "liberty must be a Liberty file: library (name) { ... }"
    assert str(caught.value) == f"{rule}, not {str(path)!r}: {why}"


def test_broken_compression(tmp_path):
    path = tmp_path / "broken.lib.gz"
    path.write_bytes(gzip.compress(LIBRARY.encode())[:-20])
    with pytest.raises(LibertyError) as caught:
        read_liberty(path)
    assert str(caught.value) == (
        f"liberty must be a Liberty file or one compressed with gzip, not {str(path)!r}: "
        "its gzip stream is broken"
    )


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_liberty(tmp_path / "none.lib")


class TestGeneric:
    def test_unit(self, generic):
        assert generic.area_unit == "NAND2eq"
        assert generic.nand2.name == "nand2"
        assert generic.nand2_area == 1.0
        assert [name for name, cell in generic.cells.items() if cell.sequential] == [
            "latch",
            "dff",
            "dffr",
        ]

    def test_areas_are_transistors_of_the_header(self, generic):
        areas = {name: cell.area * 4 for name, cell in generic.cells.items()}
        counts = {"inv": 2, "buf": 4, "xor2": 10, "xnor2": 10, "mux2": 12}
        counts |= {"latch": 16, "dff": 24, "dffr": 28}
        for name, area in areas.items():
            if match := re.fullmatch(r"(nand|nor)([234])", name):
                expected = 2 * int(match[2])
            elif match := re.fullmatch(r"(and|or)([234])", name):
                expected = 2 * int(match[2]) + 2
            elif match := re.fullmatch(r"(aoi|oai)(2)([12])", name):
                expected = 2 * (int(match[2]) + int(match[3]))
            else:
                expected = counts[name]
            assert area == expected, name

    def test_holds_no_tabs_and_ends_with_a_line(self):
        text = GENERIC.read_text()
        assert "\t" not in text
        assert text.endswith("}\n")


def test_sky130(sky130):
    assert sky130.name == "sky130_fd_sc_hd__tt_025C_1v80"
    assert sky130.area_unit == "um2"
    assert len(sky130.cells) == 428
    assert sky130.nand2.name == "sky130_fd_sc_hd__nand2_1"
    assert sky130.nand2_area == 3.7536
    assert sky130.cells["sky130_fd_sc_hd__dfxtp_1"].sequential
    assert all(pin.direction for cell in sky130.cells.values() for pin in cell.pins.values())
