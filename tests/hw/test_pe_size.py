"""The size of the PE in logic gates, with no library but yosys's own estimate of transistors."""

import re

import pytest

from hw.config import UnitConfig
from hw.emit import emit
from tests.hw.yosys import run_yosys

pytest.importorskip("pyosys")

#: Multiplexers, multipliers and adders of the smallest public PE of 2:4, whose accumulator has 20
#: bits (gitBeraTB/Sparse-V-Accelerator 009ef1f, sparse_processing), in NAND2 equivalents.
PUBLIC_PE = 1892


def gates(config: UnitConfig, folder) -> float:
    """Combinational logic, enables of registers included, in NAND2 equivalents of 4 transistors."""
    emission = emit(config)
    source, report = folder / "unit.v", folder / "stat.txt"
    source.write_text(emission.verilog, encoding="utf-8")
    run_yosys(
        folder,
        [
            ["read_verilog", str(source)],
            ["synth", "-flatten", "-top", emission.top],
            ["async2sync"],
            ["dfflegalize", "-cell", "$_DFF_P_", "01"],
            ["opt_clean"],
            ["abc", "-g", "cmos"],
            ["tee", "-o", str(report), "stat", "-tech", "cmos"],
        ],
    )
    text = report.read_text(encoding="utf-8")
    registers = re.findall(r"(\d+)\s+\$_DFF_P_", text)
    assert not re.search(r"\$_S?DFFE", text)
    transistors = re.search(r"transistors:\s+(\d+)", text)
    return (int(transistors[1]) - 16 * sum(map(int, registers))) / 4


@pytest.mark.parametrize("metadata", ["bitmap", "index", "enumerative"])
def test_smaller_than_the_smallest_public_one(metadata, tmp_path):
    config = UnitConfig(
        n=2, m=4, unit="pe", dtype="int8", metadata=metadata, acc_width=20, check=False
    )
    assert 900 < gates(config, tmp_path) < PUBLIC_PE
