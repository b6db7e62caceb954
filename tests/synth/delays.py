"""Libraries with delays that can be added up by hand."""

import re

from synth.liberty import GENERIC

#: Delay of every gate, in the library's unit of time; the others are of a register.
GATE = 0.25
BUFFER = 0.5
CLOCK_TO_OUTPUT = 0.5
SETUP = 0.125

_TABLES = "cell_rise", "cell_fall", "rise_transition", "fall_transition"
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


def _table(name, template, *values):
    row = ", ".join(map(str, values))
    return f'{name} ({template}) {{ values ("{row}", "{row}"); }}'


def _arc(related, delay, scale, kind=""):
    values = [delay * scale] * 2 + [0.0625 * scale] * 2
    # abc wants gates that loads slow down, with three loads or more.
    tables = [
        _table(name, "delays", value, value + scale / 2, value + scale)
        for name, value in zip(_TABLES, values, strict=True)
    ]
    return f'timing () {{ related_pin : "{related}"; {kind} {" ".join(tables)} }}'


def _setup(clock, scale):
    names = "rise_constraint", "fall_constraint"
    tables = " ".join(_table(name, "setups", SETUP * scale, SETUP * scale) for name in names)
    return f'timing () {{ related_pin : "{clock}"; timing_type : setup_rising; {tables} }}'


def with_delays(text=None, unit="1ns", scale=1.0):
    """The generic library with delays: equal for all slews, and nearly equal for all loads."""

    def cell(match):
        name, body = match[1], match[2]
        inputs = re.findall(r"pin \((\w+)\) \{ direction : input;", body)
        body = body.replace("direction : input;", "direction : input; capacitance : 0.001;")
        if name.startswith("dff"):
            arcs = _arc("CK", CLOCK_TO_OUTPUT, scale, "timing_type : rising_edge;")
            body = re.sub(
                r"(pin \(D\) \{[^}]*)\}", lambda pin: f"{pin[1]} {_setup('CK', scale)} }}", body
            )
        else:
            delay = BUFFER if name == "buf" else GATE
            arcs = " ".join(_arc(pin, delay, scale) for pin in inputs)
        body = re.sub(
            r"(pin \(\w+\) \{ direction : output;[^}]*)\}",
            lambda pin: f"{pin[1]} max_capacitance : 1; {arcs} }}",
            body,
        )
        return f"cell ({name}) {{{body}\n  }}"

    text = GENERIC.read_text() if text is None else text
    text = text.replace("nmsparse_generic", "delays")
    text = re.sub(r"cell \((\w+)\) \{(.*?)\n  \}", cell, text, flags=re.DOTALL)
    return text.replace(
        "delay_model : table_lookup;", "delay_model : table_lookup;" + _HEAD.format(unit=unit), 1
    )
