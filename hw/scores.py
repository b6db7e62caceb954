"""Scores of lanes: what a selector compares."""

from amaranth.hdl import Cat, Const, Module, Mux, Value

from hw.floats.lanes import Number, unpack
from hw.keys import key_step
from hw.logic import named
from hw.normalize import normalize
from hw.pipeline import Bundle, Step
from hw.score_formats import ScaleFormat, ScoreFormat

__all__ = ["score_steps"]


def score_steps(
    score: ScoreFormat, lanes: int, *, width: int, consumes: tuple[str, ...] = ()
) -> list[Step]:
    """Steps from ``data``, and ``scale`` if there is one, to ``keys``, lane by lane.

    Without a scale: `hw.keys`.  With one, per lane a multiplier of the significands (none for
    powers of two), and for codes ``{class, e, f}`` a normalizer: leading zeros come from subnormals
    and from fixed-point scales.  Nothing is rounded (`hw.score_formats`).

    Parameters
    ----------
    score
        Format of the whole scores.
    lanes
        Number of lanes.
    width
        Leading bits of each score that are wanted.
    consumes
        Values that nothing after this needs, such as ``data``.
    """
    if score.scale is None:
        return [key_step(score.number, lanes, key_width=width, consumes=consumes)]
    spent = (*consumes, "scale")
    if score.kind == "integer":
        return _integer_steps(score, score.scale, lanes, width, spent)
    return _code_steps(score, score.scale, lanes, width, spent)


def _integer_steps(
    score: ScoreFormat, scale: ScaleFormat, lanes: int, width: int, spent: tuple[str, ...]
) -> list[Step]:
    """Magnitude; its product with the scale, of which the leading bits stay."""

    def multiply(m: Module, bundle: Bundle) -> Bundle:
        keys = []
        for lane, (key, factor) in enumerate(zip(bundle["keys"], bundle["scale"], strict=True)):
            product = key << factor if scale.kind == "power" else key * factor
            whole = named(m, f"product{lane}", Cat(product, Const(0, score.width))[: score.width])
            keys.append(whole[score.width - width :])
        return {"keys": keys}

    levels = 2 * scale.width if scale.kind == "power" else _multiplier_levels(score.width)
    return [
        key_step(score.number, lanes, consumes=tuple(name for name in spent if name != "scale")),
        Step(multiply, {"keys": lanes * width}, ("scale",), levels),
    ]


def _code_steps(
    score: ScoreFormat, scale: ScaleFormat, lanes: int, width: int, spent: tuple[str, ...]
) -> list[Step]:
    """Product of the significands and sum of the exponents; the normalized code."""
    product_width = score.f_width + 1
    is_float = score.number.kind == "float"

    def multiply(m: Module, bundle: Bundle) -> Bundle:
        result: Bundle = {"products": [], "exponents": [], "classes": []}
        magnitudes = bundle["data"] if is_float else bundle["keys"]
        for lane, (value, factor) in enumerate(zip(magnitudes, bundle["scale"], strict=True)):
            significand, exponent = value, Const(0, 1)
            if is_float:
                number = unpack(m, f"data{lane}", value, score.number)
                significand, exponent = Cat(number.significand), number.power
                result["classes"] += _class(number)
            scale_exponent: Value = Const(0, 1)
            product = significand
            if scale.kind == "power":
                scale_exponent = factor
            elif scale.kind == "fixed":
                product = significand * factor
            else:
                scale_significand, scale_exponent = _scale_parts(factor, scale.MANTISSA_WIDTH)
                product = significand * scale_significand
            total = Cat(exponent + scale_exponent, Const(0, score.e_width))[: score.e_width]
            result["products"].append(
                named(m, f"product{lane}", Cat(product, Const(0, 1))[:product_width])
            )
            result["exponents"].append(named(m, f"exponent{lane}", total))
        return result

    def combine(m: Module, bundle: Bundle) -> Bundle:
        keys = []
        for lane, product in enumerate(bundle["products"]):
            aligned, zeros = normalize(m, f"product{lane}", product)
            e = bundle["exponents"][lane] + product_width - zeros
            e = named(m, f"e{lane}", Mux(aligned[-1], e[: score.e_width], 0))
            code = Cat(aligned[:-1], e)
            if is_float:
                is_infinity, is_nan = bundle["classes"][2 * lane : 2 * lane + 2]
                finite = ~(is_infinity | is_nan)
                code = Cat(code & finite.replicate(len(code)), is_infinity, is_nan)
            keys.append(named(m, f"score{lane}", code[score.width - width :]))
        return {"keys": keys}

    sizes = {
        "products": lanes * product_width,
        "exponents": lanes * score.e_width,
        "classes": lanes * score.class_width,
    }
    levels = _multiplier_levels(product_width)
    normalizer_levels = 4 * product_width.bit_length()
    steps = [
        Step(multiply, sizes, spent, levels),
        Step(combine, {"keys": lanes * width}, tuple(sizes), normalizer_levels),
    ]
    if is_float:
        return steps
    first = key_step(score.number, lanes, consumes=tuple(n for n in spent if n != "scale"))
    return [first, Step(multiply, sizes, ("keys", "scale"), levels), steps[1]]


def _multiplier_levels(width: int) -> int:
    """Depth of a multiplier with a product of so many bits, in two-input gates."""
    return 2 * width


def _scale_parts(scale: Value, mantissa_width: int) -> tuple[Value, Value]:
    """Significand and exponent of a scale without a sign."""
    mantissa, field = scale[:mantissa_width], scale[mantissa_width:]
    is_normal = field.any()
    return Cat(mantissa, is_normal), field - is_normal


def _class(number: Number) -> list[Value]:
    """Bits of the class: infinity, NaN."""
    return [number.is_special & ~number.is_nan, number.is_nan]
