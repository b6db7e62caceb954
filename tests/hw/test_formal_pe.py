"""Proofs over all inputs: the PE, its accumulator from reset on."""

from dataclasses import replace

import pytest

from hw.config import METADATA, UnitConfig
from hw.ports import output_payload
from tests.hw.formal import clocked_miter, prove

pytest.importorskip("pyosys")

#: The product of a group's values and the weights of their lanes.
DENSE_WEIGHTS = """
  wire [M-1:0] mask = mask_of(i_meta);
  wire illegal = mask == 0;
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
"""

#: The same of packed weights: of lanes that both sides have kept.
PACKED_WEIGHTS = """
  wire [M-1:0] mask = mask_of(i_meta);
  wire [M-1:0] weight_mask = mask_of(i_weight_meta);
  wire illegal = mask == 0 || weight_mask == 0;
  reg signed [A-1:0] dot;
  reg signed [W-1:0] value;
  reg signed [V-1:0] weight;
  integer lane, slot, weight_slot;
  always @* begin
    dot = 0;
    slot = 0;
    weight_slot = 0;
    value = 0;
    weight = 0;
    for (lane = 0; lane < M; lane = lane + 1) begin
      value = i_values[slot*W +: W];
      weight = i_weights[weight_slot*V +: V];
      if (!illegal && mask[lane] && weight_mask[lane]) dot = dot + value * weight;
      slot = slot + mask[lane];
      weight_slot = weight_slot + weight_mask[lane];
    end
  end
"""

#: Sums of products of a reduction; what is illegal adds 0 and is remembered to its end.
MODEL = """
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
      wrong <= illegal || (wrong && !fresh);
      fresh <= i_last;
    end
    if (i_ready) due <= take && i_last;
  end
"""

EXPECTED = "large || (i_ready == (!due || o_ready) && o_valid == due"
EXPECTED += " && (!due || (o_sum == total && o_error == wrong)))"


#: Mistakes in what becomes of the products.
MISTAKES = (
    ("mask = 0; mask <", "mask = 1 << N; mask <"),
    ("wrong <= illegal ||", "wrong <="),
    ("(fresh ? 0 : total)", "total"),
    ("(wrong && !fresh)", "wrong"),
    ("dot = dot + value * weight", "dot = dot + value"),
)


@pytest.mark.parametrize("weight_select", ["mux", "dense-skip"])
@pytest.mark.parametrize("metadata", METADATA)
def test_reductions(metadata, weight_select, tmp_path):
    """Whatever is offered, stalled or not, in the first cycles after reset."""
    config = UnitConfig(
        n=2,
        m=4,
        unit="pe",
        dtype="int4",
        metadata=metadata,
        acc_width=4,
        pipeline=1,
        weight_select=weight_select,
    )
    good = clocked_miter(config, EXPECTED, DENSE_WEIGHTS + MODEL)
    prove(tmp_path, [config], good, *MISTAKES, steps=6)


@pytest.mark.parametrize("metadata", METADATA)
def test_packed_weights(metadata, tmp_path):
    """Both sides packed: the products of the lanes that are in both masks."""
    config = UnitConfig(
        n=2, m=4, unit="pe", dtype="int4", metadata=metadata, acc_width=4, weights=(2, 4)
    )
    good = clocked_miter(config, EXPECTED, PACKED_WEIGHTS + MODEL)
    prove(
        tmp_path,
        [config],
        good,
        *MISTAKES,
        (" || weight_mask == 0", ""),
        ("mask[lane] && weight_mask[lane])", "mask[lane])"),
        ("weight_slot = weight_slot + weight_mask[lane]", "weight_slot = weight_slot + mask[lane]"),
        steps=4,
    )


#: A memory of all weights answers in the next cycle; its results come a cycle later.
GATHER = """
  localparam S = {};
  wire asked, gathered_ready, gathered_valid, gathered_error;
  wire [N*I-1:0] lanes;
  wire [S-1:0] gathered_sum;
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
  reg [S-1:0] total;
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


def same_sums(folder, choosing, steps):
    """Prove that the PE that asks for its weights gives the sums and errors of this one."""
    gathering = replace(choosing, weight_select="gather", outstanding=2, name="gathering")
    expected = "gathered_valid == due && (!due || (gathered_sum == total"
    expected += " && gathered_error == wrong))"
    width = output_payload(choosing)["sum"].width
    good = clocked_miter(
        choosing,
        f"stalled || (gathered_ready && {expected})",
        GATHER.replace("{}", str(width)),
    )
    lane = "i_weights[lanes[slot*I +: I]*V +: V]"
    prove(
        folder,
        [choosing, gathering],
        good,
        (lane, f"{lane} ^ (slot == N - 1)"),
        ("total <= o_sum", "total <= o_sum + 1"),
        (".i_last(i_last),\n    .o_index", ".i_last(i_last && i_meta != 0),\n    .o_index"),
        ("wrong <= o_error", "wrong <= 0"),
        steps=steps,
    )


@pytest.mark.parametrize("metadata", METADATA)
def test_weights_that_are_asked_for(metadata, tmp_path):
    """A PE that chooses weights and one that asks for them give the same sums and errors."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int4", metadata=metadata, acc_width=4)
    same_sums(tmp_path, config, steps=5)


@pytest.mark.slow
def test_weights_of_floats_that_are_asked_for(tmp_path):
    """One group of floats, NaN and infinities among them; the sum has the bits of a product."""
    config = UnitConfig(n=1, m=3, unit="pe", dtype="fp8_e5m2", metadata="index", align_bits=6)
    same_sums(tmp_path, config, steps=4)
