"""Unpacker unit: words without gaps back to packed activations and metadata."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring

from hw.config import UnitConfig
from hw.ports import input_streams
from hw.units.streams import packed_bits, stream_members
from hw.words import WordsToGroups

__all__ = ["UnpackerUnit"]


class UnpackerUnit(wiring.Component):
    """The inverse of `hw.units.packer.PackerUnit`: words of bytes to groups of values and metadata.

    With layout ``split`` a group leaves when both streams have brought it, and ``o_last`` is that
    of the values.  Where ``i_last`` is set ``i_bytes`` says how many bytes of the word count.  The
    metadata passes unchanged: illegal codes are the decoder's business.

    Latency one cycle from the word that completes a group, throughput, stalls and reset, and what
    becomes of bits that are no whole group: `hw.words.WordsToGroups`.
    """

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        super().__init__(stream_members(config))

    def elaborate(self, platform: object) -> Module:  # noqa: ARG002 - Amaranth's signature
        """The logic."""
        m = Module()
        config = self._config
        group = self.o.payload
        unpackers = {}
        for name, bits in packed_bits(config, group, "i").items():
            unpackers[name] = unpacker = WordsToGroups(group_bits=len(bits), word_bits=config.word)
            m.submodules[f"{name}_groups"] = unpacker
            words = getattr(self, name)
            m.d.comb += [
                Cat(unpacker.i.payload[field] for field in ("data", "bytes", "last")).eq(
                    Cat(words.payload[field] for field in input_streams(config)[name])
                ),
                unpacker.i.valid.eq(words.valid),
                words.ready.eq(unpacker.i.ready),
                bits.eq(unpacker.o.payload.group),
            ]
        for name, unpacker in unpackers.items():
            others = [other.o.valid for key, other in unpackers.items() if key != name]
            m.d.comb += unpacker.o.ready.eq(self.o.ready & Cat(others).all())
        for unpacker in unpackers.values():
            # Padding of the metadata may look like further groups.
            m.d.comb += unpacker.end.eq(unpackers["i"].o.payload.last)
        m.d.comb += [
            self.o.valid.eq(Cat(unpacker.o.valid for unpacker in unpackers.values()).all()),
            group.last.eq(unpackers["i"].o.payload.last),
        ]
        return m
