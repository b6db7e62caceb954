"""Libraries with delays that can be added up by hand."""

import re

from synth.liberty import GENERIC

#: Delay of every gate, in the library's unit of time; the others are of registers.
GATE = 0.25
CLOCK_TO_OUTPUT = 0.5
SETUP = 0.125
#: What each input makes the gate before it slower.
LOAD = 0.001

_HEAD = """
  time_unit : "{unit}";
  voltage_unit : "1V";
  current_unit : "1mA";
  leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm";
  capacitive_load_unit (1, pf);
  input_threshold_pct_rise : 50;
  input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50;
  output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20;
  slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80;
  slew_upper_threshold_pct_fall : 80;
  lu_table_template (delays) {{
    variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance;
    index_1 ("0, 1");
    index_2 ("0, 0.5, 1");
  }}
  lu_table_template (setups) {{
    variable_1 : related_pin_transition;
    variable_2 : constrained_pin_transition;
    index_1 ("0, 1");
    index_2 ("0, 1");
  }}
"""

#: Cells that a mapper would like for their size: a NAND made of delay cells, and a flip-flop with
#: an enable that costs as much as one without.
TEMPTING = """
  cell (dlynand2) {
    area : 0.1;
    pin (A) { direction : input; }
    pin (B) { direction : input; }
    pin (Y) { direction : output; function : "!(A & B)"; }
  }
  cell (EDFF) {
    area : 6;
    ff (IQ, IQN) { clocked_on : "CK"; next_state : "(DE D) | (DE' IQ)"; }
    pin (CK) { direction : input; clock : true; }
    pin (D) { direction : input; }
    pin (DE) { direction : input; }
    pin (Q) { direction : output; function : "IQ"; }
  }
}
"""


def _table(name, template, *values):
    row = ", ".join(map(str, values))
    return f'{name} ({template}) {{ values ("{row}", "{row}"); }}'


def _arc(related, delay, scale, kind=""):
    delays = {"cell_rise": delay, "cell_fall": delay}
    delays |= {"rise_transition": 0.0625, "fall_transition": 0.0625}
    # abc wants gates that loads slow down, and three loads or more.
    tables = [
        _table(name, "delays", *(scale * (value + LOAD * 1000 * load) for load in (0, 0.5, 1)))
        for name, value in delays.items()
    ]
    return f'timing () {{ related_pin : "{related}"; {kind} {" ".join(tables)} }}'


def _setup(setup, scale):
    names = "rise_constraint", "fall_constraint"
    tables = " ".join(_table(name, "setups", setup * scale, setup * scale) for name in names)
    return f'timing () {{ related_pin : "CK"; timing_type : setup_rising; {tables} }}'


def with_delays(
    *, unit="1ns", scale=1, setup=SETUP, clock_to_output=CLOCK_TO_OUTPUT, more_cells=""
):
    """The generic library with delays, equal for all slews; latches have no setup time.

    `more_cells` are cells and the end of the library.
    """

    def cell(match):
        name, body = match[1], match[2]
        inputs = re.findall(r"pin \((\w+)\) \{ direction : input;", body)
        body = body.replace("direction : input;", "direction : input; capacitance : 0.001;")
        if "dff" in name.lower():
            arcs = _arc("CK", clock_to_output, scale, "timing_type : rising_edge;")
            body = re.sub(
                r"(pin \((?:D|DE)\) \{[^}]*)\}",
                lambda pin: f"{pin[1]} {_setup(setup, scale)} }}",
                body,
            )
        else:
            arcs = " ".join(_arc(pin, GATE, scale) for pin in inputs)
        body = re.sub(
            r"(pin \(\w+\) \{ direction : output;[^}]*)\}",
            lambda pin: f"{pin[1]} max_capacitance : 1; {arcs} }}",
            body,
        )
        return f"cell ({name}) {{{body}\n  }}"

    text = GENERIC.read_text().replace("nmsparse_generic", "delays")
    if more_cells:
        text = text.rstrip().removesuffix("}") + more_cells
    text = re.sub(r"cell \((\w+)\) \{(.*?)\n  \}", cell, text, flags=re.DOTALL)
    return text.replace(
        "delay_model : table_lookup;", "delay_model : table_lookup;" + _HEAD.format(unit=unit), 1
    )
