"""Packer unit: packed activations and metadata to words without gaps."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.ports import output_streams
from hw.units.streams import packed_bits, stream_members
from hw.words import GroupsToWords

__all__ = ["PackerUnit"]


class PackerUnit(wiring.Component):
    """The packed stream of `sw.packed`: groups of values and metadata to words of bytes.

    Layout ``interleaved``: for each group its metadata, then its values, in one stream.  Layout
    ``split``: the values in stream ``o`` and the metadata in stream ``o_meta``, each of which may
    stall; a group is taken when both have room.  ``o_bytes`` is the number of valid bytes of a
    word: all of them, but in the word with ``o_last``, the last one of a token; the others are 0.

    Latency one cycle from the group that fills a word, throughput, stalls and reset:
    `hw.words.GroupsToWords`.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        super().__init__(stream_members(config))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        config = self._config
        group = self.i.payload
        packers = {}
        for name, bits in packed_bits(config, group, "o").items():
            packers[name] = packer = GroupsToWords(group_bits=len(bits), word_bits=config.word)
            m.submodules[f"{name}_words"] = packer
            words = getattr(self, name)
            m.d.comb += [
                packer.i.payload.group.eq(bits),
                packer.i.payload.last.eq(group.last),
                words.valid.eq(packer.o.valid),
                Cat(words.payload[field] for field in output_streams(config)[name]).eq(
                    Cat(packer.o.payload[field] for field in ("data", "bytes", "last"))
                ),
                packer.o.ready.eq(words.ready),
            ]
        for name, packer in packers.items():
            others = [other.i.ready for key, other in packers.items() if key != name]
            m.d.comb += packer.i.valid.eq(self.i.valid & Cat(others).all())
        m.d.comb += self.i.ready.eq(Cat(packer.i.ready for packer in packers.values()).all())
        return m
