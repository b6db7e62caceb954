"""The streams of a unit as members of a component."""

from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from hw.config import UnitConfig
from hw.pipeline import payload_layout
from hw.ports import input_streams, output_streams

__all__ = ["stream_members"]


def stream_members(config: UnitConfig) -> dict[str, Member]:
    """All streams of a unit, by the prefix of their ports: ``i``, ``o`` and further ones."""
    members: dict[str, Member] = {}
    for flow, streams in ((In, input_streams(config)), (Out, output_streams(config))):
        for prefix, fields in streams.items():
            members[prefix] = flow(stream.Signature(payload_layout(fields)))
    return members
