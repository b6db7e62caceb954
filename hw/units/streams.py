"""The streams of a unit as members of a component, and what goes into streams of words."""

from amaranth.hdl import Cat, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from hw.config import UnitConfig
from hw.pipeline import payload_layout
from hw.ports import input_streams, output_streams

__all__ = ["packed_bits", "stream_members"]


def stream_members(config: UnitConfig) -> dict[str, Member]:
    """All streams of a unit, by the prefix of their ports: ``i``, ``o`` and further ones."""
    members: dict[str, Member] = {}
    for flow, streams in ((In, input_streams(config)), (Out, output_streams(config))):
        for prefix, fields in streams.items():
            members[prefix] = flow(stream.Signature(payload_layout(fields)))
    return members


def packed_bits(config: UnitConfig, group: data.View, prefix: str) -> dict[str, Value]:
    """Bits of a group by the prefix of the stream of words that holds them (`sw.packed`).

    Metadata, then values, in one stream; with layout ``split`` the values in one and the metadata
    in a second one.
    """
    meta = group.meta[: config.metadata_bits]
    values = group["values"]
    if config.layout == "split":
        return {prefix: values, f"{prefix}_meta": meta}
    return {prefix: Cat(meta, values)}
