"""The plain compare matrix does what its definition says, for all keys."""

import pytest

from synth.plain_matrix import plain_matrix
from tests.hw.yosys import run_yosys

pytest.importorskip("pyosys")

# Lane j is kept iff fewer than N lanes beat it; lane i beats lane j iff key(i) > key(j), or the
# keys are equal and i < j.
MITER = """
module {name}(input [M*B-1:0] keys, output ok);
  localparam N = {n}, M = {m}, B = {width};
  wire [M-1:0] o_mask;
  {top} dut(.i_keys(keys), .o_mask(o_mask));
  reg [M-1:0] mask;
  integer i, j, beaten;
  always @* begin
    for (j = 0; j < M; j = j + 1) begin
      beaten = 0;
      for (i = 0; i < M; i = i + 1)
        if (keys[i*B +: B] > keys[j*B +: B] || (keys[i*B +: B] == keys[j*B +: B] && {tie}))
          beaten = beaten + 1;
      mask[j] = beaten < N;
    end
  end
  assign ok = o_mask == mask;
endmodule
"""


@pytest.mark.parametrize(("n", "m", "width"), [(2, 4, 4), (3, 5, 3), (1, 2, 1), (1, 5, 2)])
def test_definition(tmp_path, n, m, width):
    design = plain_matrix(n, m, width)
    texts = [design.verilog]
    for name, tie in (("good", "i < j"), ("bad", "i > j")):
        values = {"name": name, "tie": tie, "n": n, "m": m, "width": width, "top": design.top}
        texts.append(MITER.format(**values))
    path = tmp_path / "all.v"
    path.write_text("\n".join(texts))
    commands = [["read_verilog", str(path)]]
    for name, flag in (("good", "-verify"), ("bad", "-falsify")):
        commands += [
            ["design", "-save", "all"],
            ["hierarchy", "-check", "-top", name],
            ["proc"],
            ["flatten"],
            ["opt", "-full"],
            ["sat", flag, "-prove", "ok", "1", name],
            ["design", "-load", "all"],
        ]
    log = run_yosys(tmp_path, commands)
    proved = log.index("SAT proof finished - no model found: SUCCESS!")
    assert proved < log.index("SAT proof finished - model found: FAIL!")


def test_all_lanes_kept(tmp_path):
    design = plain_matrix(4, 4, 2)
    path = tmp_path / "all.v"
    miter = f"module all(input [7:0] keys, output ok); wire [3:0] mask; {design.top} dut("
    path.write_text(f"{design.verilog}{miter}keys, mask); assign ok = &mask; endmodule\n")
    commands = [["read_verilog", str(path)], ["hierarchy", "-top", "all"], ["flatten"], ["opt"]]
    assert "SUCCESS!" in run_yosys(tmp_path, [*commands, ["sat", "-verify", "-prove", "ok", "1"]])
