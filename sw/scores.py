"""Golden model of the scores: exact, and in the integer form in which hardware compares them."""

import torch

from hw.formats import FP32, NumberFormat
from hw.score_formats import ScaleFormat, ScoreFormat
from sw.codes import codes_of, magnitude_keys

__all__ = ["comparable_scores", "exact_scores"]


def exact_scores(
    codes: torch.Tensor, scales: torch.Tensor | None, score: ScoreFormat
) -> torch.Tensor:
    """Scores of codes: int64 of the same shape, `score.width` bits, as `hw.score_formats` has them.

    Parameters
    ----------
    codes
        Of activations.
    scales
        Codes of their scales, of a shape that broadcasts; None without a scale format.
    score
        The format.
    """
    if score.scale is None or scales is None:
        return magnitude_keys(codes, score.number)
    significand, exponent = _magnitudes(codes, score.number)
    scale, scale_exponent = _scales(scales, score.scale)
    # The score is product * 2**exponent.
    product, exponent = significand * scale, exponent + scale_exponent
    if score.kind == "integer":
        return product << exponent
    length = _bit_length(product)
    finite = (length + exponent) << score.f_width
    # The leading one of the product goes, the rest moves up to it.
    finite += (product << (score.f_width + 1 - length)) - (1 << score.f_width)
    finite = torch.where(product == 0, 0, finite)
    rank = _ranks(codes, score.number)
    return torch.where(rank == 0, finite, rank << (score.e_width + score.f_width))


def comparable_scores(
    numbers: torch.Tensor, scales: torch.Tensor | None, score: ScoreFormat
) -> torch.Tensor:
    """What `sw.fast_selection.keep_mask` orders as `exact_scores`, ties included: same shape.

    Without scales the numbers themselves.  Products that fp32 holds without rounding are left to
    it, which is several times as fast; all others are the int64 of `exact_scores`.

    Parameters
    ----------
    numbers
        Activations, of the type that `sw.codes.codes_of` takes.
    scales, score
        As of `exact_scores`.
    """
    scale_format = score.scale
    if scales is None or scale_format is None:
        return numbers
    if not _is_exact_in_fp32(score):
        return exact_scores(codes_of(numbers, score.number.name), scales, score)
    magnitudes = numbers.float().abs()
    if scale_format.kind == "fixed":
        # Below 1, so that nothing becomes too large.
        factors = scales.float() / (1 << scale_format.width)
    else:
        factors = torch.exp2(scales - float((1 << scale_format.width) - 1))
    products = magnitudes * factors
    if bool(magnitudes.isfinite().all()):
        return products
    # Infinities and NaNs tie with their like, whatever their scales.
    products = torch.where(magnitudes.isinf(), magnitudes, products)
    return torch.where(magnitudes.isnan(), torch.nan, products)


def _is_exact_in_fp32(score: ScoreFormat) -> bool:
    """Whether fp32 holds all products of finite magnitudes and the factors that follow."""
    number, scale_format = score.number, score.scale
    if scale_format is None or number.kind == "int" or scale_format.kind == "float":
        return False
    if scale_format.kind == "fixed":
        bits, places = number.significand_width + scale_format.width, scale_format.width
    else:
        bits, places = number.significand_width, (1 << scale_format.width) - 1
    return (
        bits <= FP32.significand_width
        and number.smallest_exponent - places >= FP32.smallest_exponent
    )


def _magnitudes(
    codes: torch.Tensor, number_format: NumberFormat
) -> tuple[torch.Tensor, torch.Tensor]:
    """(s, x): the finite magnitude is s * 2**x in units of the smallest one above 0."""
    keys = magnitude_keys(codes, number_format)
    if number_format.kind == "int":
        return keys, torch.zeros_like(keys)
    return _parts(keys, number_format.mantissa_width)


def _scales(scales: torch.Tensor, scale_format: ScaleFormat) -> tuple[torch.Tensor, torch.Tensor]:
    """(s, x): the scale is s * 2**x in units of the smallest one above 0."""
    if scale_format.kind == "fixed":
        return scales, torch.zeros_like(scales)
    if scale_format.kind == "power":
        return torch.ones_like(scales), scales
    return _parts(scales, scale_format.MANTISSA_WIDTH)


def _parts(bits: torch.Tensor, mantissa_width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Significand and exponent of the bits below a sign, subnormals included."""
    exponent = bits >> mantissa_width
    mantissa = bits & ((1 << mantissa_width) - 1)
    is_normal = exponent > 0
    return torch.where(is_normal, mantissa + (1 << mantissa_width), mantissa), torch.where(
        is_normal, exponent - 1, 0
    )


def _bit_length(integers: torch.Tensor) -> torch.Tensor:
    """Bit length of integers from 0 to 2**53: exact in float64."""
    return torch.frexp(integers.to(torch.float64)).exponent.to(torch.int64)


def _ranks(codes: torch.Tensor, number_format: NumberFormat) -> torch.Tensor:
    """Class of codes: finite 0, infinity 1, NaN 2."""
    if number_format.kind == "int":
        return torch.zeros_like(codes)
    keys = magnitude_keys(codes, number_format)
    if not number_format.has_infinity:
        return 2 * (keys == (1 << number_format.key_width) - 1).to(torch.int64)
    infinity = ((1 << number_format.exponent_width) - 1) << number_format.mantissa_width
    return (keys >= infinity).to(torch.int64) + (keys > infinity).to(torch.int64)
