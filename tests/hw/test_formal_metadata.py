"""Proofs over all inputs: the codes of the metadata, and the units that read and write them."""

import pytest

from hw.config import METADATA, UnitConfig
from tests.hw.formal import clocked_miter, miter, prove

pytest.importorskip("pyosys")

PATTERNS = [(2, 4), (3, 7), (4, 4), (1, 5)]

#: The first of all masks is forgotten.
ONE_MASK_FEWER = ("mask = 0; mask <", "mask = 1 << N; mask <")

#: All lanes move by one, which leaves no mask but that of all lanes as it is.
WRONG_LANES = ("o_meta == meta_of(i_mask)", "o_meta == meta_of({i_mask, i_mask} >> 1)")


def config_of(unit, n, m, metadata, **options):
    return UnitConfig(n=n, m=m, unit=unit, metadata=metadata, **{"pipeline": 0, **options})


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize(("n", "m"), PATTERNS)
class TestAllCodes:
    """Every code of the metadata."""

    def test_decoding_undoes_encoding(self, n, m, metadata, tmp_path):
        encoder, decoder = (config_of(unit, n, m, metadata) for unit in ("encoder", "decoder"))
        sound = "mid_meta == meta_of(i_mask) && o_mask == i_mask && !o_error"
        good = miter(decoder, f"count_of(i_mask) != N || {sound}", front=encoder)
        mistakes = [(".i_meta(mid_meta)", ".i_meta(mid_meta ^ 1)")]
        if n < m:
            mistakes.append(tuple(text.replace("o_meta", "mid_meta") for text in WRONG_LANES))
        prove(tmp_path, [encoder, decoder], good, *mistakes)

    def test_decoder_reports_every_illegal_code(self, n, m, metadata, tmp_path):
        config = config_of("decoder", n, m, metadata)
        good = miter(
            config,
            "o_mask == mask && o_error == (mask == 0)",
            "wire [M-1:0] mask = mask_of(i_meta);",
        )
        prove(tmp_path, [config], good, ONE_MASK_FEWER, ("(mask == 0)", "0"))

    def test_decompressor_is_the_definition(self, n, m, metadata, tmp_path):
        config = config_of("decompressor", n, m, metadata, dtype="int4")
        good = miter(
            config,
            "o_data == data_of(i_values, mask) && o_error == (mask == 0) && o_last == i_last",
            "wire [M-1:0] mask = mask_of(i_meta);",
        )
        prove(
            tmp_path,
            [config],
            good,
            ONE_MASK_FEWER,
            ("(mask == 0)", "0"),
            ("data_of(i_values, mask)", "data_of(i_values ^ 1, mask)"),
            ("o_last == i_last", "o_last == 0"),
        )


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (2, 5), (4, 4), (1, 5)])
def test_decompressing_undoes_sparsifying(n, m, metadata, tmp_path):
    """Kept lanes come back, the others are 0."""
    sparsifier, decompressor = (
        config_of(unit, n, m, metadata, dtype="int4") for unit in ("sparsifier", "decompressor")
    )
    kept = "mask[lane] ? i_data[lane*W +: W] : 0"
    good = miter(
        decompressor,
        "o_data == dense && !o_error && o_last == i_last",
        f"""
  wire [M-1:0] mask = kept_of(i_data);
  reg [M*W-1:0] dense;
  integer lane;
  always @* for (lane = 0; lane < M; lane = lane + 1) dense[lane*W +: W] = {kept};
""",
        front=sparsifier,
    )
    mistakes = [(kept, kept.replace("data[lane", "data[(M-1-lane)")), ("!o_error", "o_error")]
    if n < m:
        mistakes.append((kept, kept.replace(": 0", ": 1")))
    prove(tmp_path, [sparsifier, decompressor], good, *mistakes)


def test_serial_encoder(tmp_path):
    """From reset to the end of the second group, which is equal to the first."""
    config = config_of("encoder", 2, 4, "enumerative", serial=True)
    cycles = config.initiation_interval
    good = clocked_miter(
        config,
        f"o_valid == (cycle == {cycles} || cycle == {2 * cycles})"
        " && (!o_valid || count_of(i_mask) != N || o_meta == meta_of(i_mask))",
        held=True,
    )
    late = (f"cycle == {2 * cycles})", f"cycle == {2 * cycles + 1})")
    prove(tmp_path, [config], good, WRONG_LANES, late, steps=2 * cycles + 1)


def test_serial_decoder(tmp_path):
    """From reset to the end of the second group, which is equal to the first."""
    config = config_of("decoder", 2, 4, "enumerative", serial=True)
    cycles = config.initiation_interval
    good = clocked_miter(
        config,
        f"o_valid == (cycle == {cycles} || cycle == {2 * cycles})"
        " && (!o_valid || (o_mask == mask && o_error == (mask == 0)))",
        "wire [M-1:0] mask = mask_of(i_meta);",
        held=True,
    )
    prove(tmp_path, [config], good, ONE_MASK_FEWER, ("(mask == 0)", "0"), steps=2 * cycles + 1)
