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
