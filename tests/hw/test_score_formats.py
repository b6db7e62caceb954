"""Tests of `hw.score_formats`: widths against the largest numbers there are."""

import pytest

from hw.config import UnitConfig
from hw.formats import FORMATS
from hw.score_formats import ScoreFormat, scale_format_of


@pytest.mark.parametrize(
    ("name", "width", "kind"),
    [
        ("u1", 1, "fixed"),
        ("u32", 32, "fixed"),
        ("pow2", 4, "power"),
        ("bf16", 15, "float"),
    ],
)
def test_scale_formats(name, width, kind):
    found = scale_format_of(name)
    assert (found.name, found.width, found.kind) == (name, width, kind)


@pytest.mark.parametrize("name", ["", "u", "u0", "u33", "u100", "u01", "U8", "u8 ", "bf8", "pow4"])
def test_no_scale_format(name):
    assert scale_format_of(name) is None


#: The largest finite magnitude of each format in units of the smallest one above 0.
LARGEST = {
    "int4": 8,
    "int8": 128,
    "int16": 32768,
    "fp16": 2047 << 29,
    "bf16": 255 << 253,
    "fp8_e4m3": 14 << 14,
    "fp8_e5m2": 7 << 29,
}

LARGEST_SCALE = {"u8": 255, "u32": (1 << 32) - 1, "pow2": 1 << 15, "bf16": 255 << 254}


@pytest.mark.parametrize("scale", LARGEST_SCALE)
@pytest.mark.parametrize("dtype", FORMATS)
def test_every_score_has_room(dtype, scale):
    score = ScoreFormat(FORMATS[dtype], scale_format_of(scale))
    largest = LARGEST[dtype] * LARGEST_SCALE[scale]
    if score.kind == "integer":
        # The key has as many bits as the format, and only its highest power of two needs the last.
        assert largest.bit_length() <= score.width <= largest.bit_length() + 1
        return
    assert largest.bit_length() <= score.largest_e <= largest.bit_length() + 1
    assert score.largest_e < 1 << score.e_width
    assert score.largest_e >= 1 << (score.e_width - 1)
    significant = largest // (largest & -largest)
    assert significant.bit_length() - 1 <= score.f_width
    is_float = FORMATS[dtype].kind == "float"
    assert score.width == 2 * is_float + score.e_width + score.f_width


@pytest.mark.parametrize(("dtype", "width"), [("bf16", 15), ("int8", 8), ("fp8_e4m3", 7)])
def test_without_a_scale_the_score_is_the_key(dtype, width):
    assert ScoreFormat(FORMATS[dtype], None).width == width
    assert UnitConfig(n=2, m=4, dtype=dtype).key_width == width


@pytest.mark.parametrize(
    ("dtype", "scale", "width"),
    [("int8", "u8", 16), ("int8", "pow2", 23), ("bf16", "u8", 26), ("bf16", "bf16", 27)],
)
def test_widths(dtype, scale, width):
    config = UnitConfig(n=2, m=4, dtype=dtype, criterion="scaled", scale_format=scale)
    assert config.key_width == config.score.width == width
    assert config.scale.name == scale
