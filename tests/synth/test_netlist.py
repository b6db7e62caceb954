import pytest

from synth.liberty import GENERIC, read_liberty
from synth.netlist import LoopError, Netlist


def module(cells, inputs=("2", "3"), outputs=()):
    """Netlist module: cells are (type, {pin: net}), nets are numbers."""
    ports = {f"i{net}": {"direction": "input", "bits": [int(net)]} for net in inputs}
    ports |= {f"o{net}": {"direction": "output", "bits": [net]} for net in outputs}
    return {
        "ports": ports,
        "cells": {
            f"c{place}": {"type": kind, "connections": {pin: [net] for pin, net in pins.items()}}
            for place, (kind, pins) in enumerate(cells)
        },
    }


@pytest.fixture(scope="module")
def library():
    return read_liberty(GENERIC)


def test_registers_break_paths(library):
    chain = [
        ("inv", {"A": 2, "Y": 10}),
        ("inv", {"A": 10, "Y": 11}),
        ("dff", {"CK": 3, "D": 11, "Q": 12}),
        ("inv", {"A": 12, "Y": 13}),
        ("xor2", {"A": 13, "B": 12, "Y": 14}),
        ("nand2", {"A": 14, "B": "1", "Y": 15}),
        ("dff", {"CK": 3, "D": 15, "Q": 16}),
    ]
    netlist = Netlist(module(chain, outputs=[16]), library)
    assert netlist.longest_path() == 3
    assert netlist.area() == 3 * 0.5 + 2.5 + 1 + 2 * 6
    assert netlist.area(sequential=True) == 12
    assert netlist.area(sequential=False) == 5
    assert netlist.unmapped == netlist.without_area == netlist.undriven == []
    # In any order of the cells.
    assert Netlist(module(chain[::-1], outputs=[16]), library).longest_path() == 3


def test_no_gates(library):
    assert Netlist(module([], outputs=[2]), library).longest_path() == 0
    assert Netlist(module([("dff", {"CK": 3, "D": 2, "Q": 4})]), library).longest_path() == 0


def test_loop(library):
    cells = [("inv", {"A": 2, "Y": 4}), ("nand2", {"A": 4, "B": 6, "Y": 5})]
    cells += [("inv", {"A": 5, "Y": 6})]
    with pytest.raises(LoopError) as caught:
        Netlist(module(cells), library).longest_path()
    assert str(caught.value) == "a combinational loop runs through or before cell c1"


def test_findings(library):
    cells = [("$_TBUF_", {"A": 2, "Y": 4}), ("inv", {"A": 2, "Y": 5})]
    netlist = Netlist(module(cells, outputs=[4, 5, "x", "0", 2]), library)
    assert netlist.unmapped == ["$_TBUF_"]
    assert netlist.undriven == ["o4", "ox"]
    assert netlist.has_outputs
    assert not Netlist(module([]), library).has_outputs


def test_without_area(tmp_path):
    path = tmp_path / "l.lib"
    path.write_text(
        "library (l) { cell (c) { pin (A) { direction : input; } "
        "pin (Y) { direction : output; } } }"
    )
    netlist = Netlist(module([("c", {"A": 2, "Y": 4})], outputs=[4]), read_liberty(path))
    assert netlist.without_area == ["c"]


def test_clock_ports(library):
    cells = [
        ("and2", {"A": 2, "B": 10, "Y": 11}),
        ("inv", {"A": 3, "Y": 10}),
        ("dff", {"CK": 11, "D": 4, "Q": 12}),
        ("dff", {"CK": 12, "D": 4, "Q": 13}),
    ]
    inputs = ("2", "3", "4")
    assert Netlist(module(cells, inputs), library).clock_ports == ["i2", "i3"]
    assert Netlist(module(cells[:2], inputs), library).clock_ports == []
    # Through gates and no further than the next register.
    assert Netlist(module(cells[3:], ("4", "12")), library).clock_ports == ["i12"]
    assert Netlist(module([("latch", {"G": 3, "D": 2, "Q": 4})]), library).clock_ports == ["i3"]


def test_clock_loop(library):
    cells = [
        ("inv", {"A": 5, "Y": 5}),
        ("and2", {"A": 5, "B": 2, "Y": 6}),
        ("dff", {"CK": 6, "D": 3, "Q": 7}),
    ]
    assert Netlist(module(cells), library).clock_ports == ["i2"]


def test_names(library):
    cells = [
        ("dff", {"CK": 2, "D": 3, "Q": 10}),
        ("dff", {"CK": 2, "D": 10, "Q": 11}),
        ("dff", {"CK": 2, "D": 11, "Q": 12}),
        ("dff", {"CK": 2, "D": 12, "Q": 13}),
        ("dff", {"CK": 2, "D": 13, "Q": 14}),
        ("inv", {"A": 14, "Y": 15}),
    ]
    description = module(cells, outputs=[13])
    description["netnames"] = {
        "a": {"hide_name": 0, "bits": [10, 11], "offset": 4},
        "b": {"hide_name": 0, "bits": [11, 12], "upto": 1},
        "o13": {"hide_name": 0, "bits": [13]},
        "secret": {"hide_name": 1, "bits": [14]},
        "z": {"hide_name": 0, "bits": [13], "offset": 2},
    }
    netlist = Netlist(description, library)
    # A port's name only where there is no other; the cell's where there is none at all.
    assert netlist.registers == {"c0": "a[4]", "c1": "a[5]", "c2": "b[0]", "c3": "z[2]", "c4": "c4"}
    del description["netnames"]["z"]
    assert Netlist(description, library).registers["c3"] == "o13"
    assert netlist.types["c5"] == "inv"
    assert netlist.is_sequential
    assert not Netlist(module(cells[5:]), library).is_sequential


def test_without_times(library, delays):
    cells = [("inv", {"A": 2, "Y": 4}), ("latch", {"G": 3, "D": 4, "Q": 5})]
    assert Netlist(module(cells), library).without_times == ["inv", "latch"]
    assert Netlist(module(cells), delays).without_times == ["latch"]
