"""The buffer of a PE that asks for its weights, by itself: what a memory behind it costs."""

from functools import cache

from amaranth.back import verilog

from hw.config import UnitConfig
from hw.units.gathering_pe import waiting_groups
from synth.area import Design

__all__ = ["waiting_buffer"]


@cache
def waiting_buffer(config: UnitConfig) -> Design:
    """The groups that wait for their weights in a PE with ``gather``, without the PE.

    Nearly all of it are registers and the choice among them, which take about the same area alone
    and in the PE: at 8:16 ``int8`` two groups more cost 4,937 um2 there and 4,875 um2 here.
    """
    buffer = waiting_groups(config)
    top = f"buffer_{buffer.depth}x{buffer.width}"
    names = ("w_data", "w_en", "w_rdy", "r_data", "r_en", "r_rdy")
    ports = [getattr(buffer, name) for name in names]
    text = verilog.convert(buffer, name=top, ports=ports, emit_src=False)
    # Its first line names the yosys that wrote it.
    return Design(text.partition("\n")[2], top)
