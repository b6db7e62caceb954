"""Proofs over all inputs: the PE, its accumulator from reset on."""

from dataclasses import replace

import pytest

from hw.config import METADATA, UnitConfig
from tests.hw.formal import clocked_miter, prove

pytest.importorskip("pyosys")

#: Sums of products of a reduction; what is illegal adds 0 and is remembered to its end.
MODEL = """
  wire [M-1:0] mask = mask_of(i_meta);
  reg signed [A-1:0] dot;
  reg signed [W-1:0] value;
  reg signed [V-1:0] weight;
  integer lane, slot;
  always @* begin
    dot = 0;
    slot = 0;
    value = 0;
    weight = 0;
    for (lane = 0; lane < M; lane = lane + 1) if (mask[lane]) begin
      value = i_values[slot*W +: W];
      weight = i_weights[lane*V +: V];
      dot = dot + value * weight;
      slot = slot + 1;
    end
  end

  reg signed [A-1:0] total;
  // Products are tested apart; a proof with all of them takes minutes.
  reg large;
  always @(posedge clk) large <= !rst && (large || (i_values & {N{4'b1110}}) != 0);

  reg fresh, wrong, due;
  wire take = i_valid && i_ready;
  always @(posedge clk) if (rst) begin
    fresh <= 1;
    due <= 0;
  end else begin
    if (take) begin
      total <= (fresh ? 0 : total) + dot;
      wrong <= mask == 0 || (wrong && !fresh);
      fresh <= i_last;
    end
    if (i_ready) due <= take && i_last;
  end
"""

EXPECTED = "large || (i_ready == (!due || o_ready) && o_valid == due"
EXPECTED += " && (!due || (o_sum == total && o_error == wrong)))"


@pytest.mark.parametrize("metadata", METADATA)
def test_reductions(metadata, tmp_path):
    """Whatever is offered, stalled or not, in the first cycles after reset."""
    config = UnitConfig(
        n=2, m=4, unit="pe", dtype="int4", metadata=metadata, acc_width=4, pipeline=1
    )
    good = clocked_miter(config, EXPECTED, MODEL)
    prove(
        tmp_path,
        [config],
        good,
        ("mask = 0; mask <", "mask = 1 << N; mask <"),
        ("wrong <= mask == 0 ||", "wrong <="),
        ("(fresh ? 0 : total)", "total"),
        ("(wrong && !fresh)", "wrong"),
        ("dot = dot + value * weight", "dot = dot + value"),
        steps=6,
    )


#: A memory of all weights answers in the next cycle; its results come a cycle later.
GATHER = """
  wire asked, gathered_ready, gathered_valid, gathered_error;
  wire [N*I-1:0] lanes;
  wire [A-1:0] gathered_sum;
  reg [N*V-1:0] rows;
  reg found;
  gathering gathering(
    .clk(clk), .rst(rst), .i_valid(i_valid && i_ready), .i_ready(gathered_ready),
    .i_values(i_values), .i_meta(i_meta), .i_last(i_last),
    .o_index_valid(asked), .o_index_ready(1'b1), .o_index(lanes),
    .i_weights_valid(found), .i_weights_ready(), .i_weights(rows),
    .o_valid(gathered_valid), .o_ready(1'b1), .o_sum(gathered_sum), .o_error(gathered_error)
  );

  reg due, wrong, stalled;
  reg [A-1:0] total;
  integer slot;
  always @(posedge clk) begin
    found <= asked && !rst;
    for (slot = 0; slot < N; slot = slot + 1)
      rows[slot*V +: V] <= i_weights[lanes[slot*I +: I]*V +: V];
    due <= o_valid && !rst;
    total <= o_sum;
    wrong <= o_error;
    stalled <= !rst && (stalled || !o_ready);
  end
"""


@pytest.mark.parametrize("metadata", METADATA)
def test_weights_that_are_asked_for(metadata, tmp_path):
    """A PE that chooses weights and one that asks for them give the same sums and errors."""
    choosing = UnitConfig(n=2, m=4, unit="pe", dtype="int4", metadata=metadata, acc_width=4)
    gathering = replace(choosing, weight_select="gather", outstanding=2, name="gathering")
    expected = "gathered_valid == due && (!due || (gathered_sum == total"
    expected += " && gathered_error == wrong))"
    good = clocked_miter(choosing, f"stalled || (gathered_ready && {expected})", GATHER)
    prove(
        tmp_path,
        [choosing, gathering],
        good,
        (
            "i_weights[lanes[slot*I +: I]*V +: V]",
            "i_weights[lanes[slot*I +: I]*V +: V] ^ (slot == 1)",
        ),
        ("total <= o_sum", "total <= o_sum + 1"),
        (".i_last(i_last),\n    .o_index", ".i_last(i_last && i_meta != 5),\n    .o_index"),
        steps=5,
    )
