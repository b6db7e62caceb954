"""The definition of a sparse linear, token by token in plain Python and fp64."""

import math
from fractions import Fraction

from sw.method import Method

Row = list[float]
Matrix = list[Row]


def dot(a: Row, b: Row) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def best(scores: Row, count: int) -> list[bool]:
    """The greatest; of equal ones the first."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:count]
    return [place in order for place in range(len(scores))]


def keep(scores: Row, pattern: tuple[int, int] | Fraction) -> list[bool]:
    if isinstance(pattern, Fraction):
        return best(scores, max(1, math.floor(len(scores) * (1 - pattern))))
    n, m = pattern
    padded = scores + [0.0] * (-len(scores) % m)
    groups = [best(padded[start : start + m], n) for start in range(0, len(padded), m)]
    return [kept for group in groups for kept in group][: len(scores)]


def variance(row: Row) -> float:
    mean = math.fsum(row) / len(row)
    return math.fsum((x - mean) ** 2 for x in row) / (len(row) - 1)


def sparse_linear(
    sequence: Matrix,
    weight: Matrix,
    bias: Row | None,
    method: Method,
    constants: dict[str, list],
) -> Matrix:
    """Outputs of one sequence; dense where the activations are added back as published.

    The shift is added back to all features before the product, VAR multiplies the activations, and
    scaling divides activations and multiplies weights: none of the forms that hardware would use.
    """
    features = len(sequence[0])
    assert method.pattern is not None
    column_weights = [list(column) for column in zip(*weight, strict=True)]
    s = [1.0] * features
    if method.scaling != "none":
        for j in range(features):
            top = max(abs(token[j]) for token in sequence)
            if method.scaling == "static":
                top = constants["input_max"][j]
            s[j] = math.sqrt(top / max(map(abs, column_weights[j])))
    tokens = [[x / factor for x, factor in zip(token, s, strict=True)] for token in sequence]
    rows = [[w * factor for w, factor in zip(row, s, strict=True)] for row in weight]
    scale = constants.get("scale", [1.0] * features)
    if method.criterion == "clact":
        scale = [math.sqrt(math.fsum(token[j] ** 2 for token in tokens)) for j in range(features)]

    outputs = []
    for token in tokens:
        eta = [0.0] * features
        if method.shift == "d-pts-mean":
            eta = [math.fsum(token) / features] * features
        if method.shift == "d-pts-median":
            eta = [sorted(token)[(features - 1) // 2]] * features
        if method.shift == "s-pts":
            eta = [constants["shift"]] * features
        if method.shift in ("s-pts-channel", "l-pts"):
            eta = constants["shift"]
        d = [x - one for x, one in zip(token, eta, strict=True)]
        mask = keep([abs(x) * one for x, one in zip(d, scale, strict=True)], method.pattern)
        kept = [x if one else 0.0 for x, one in zip(d, mask, strict=True)]
        v = math.sqrt(variance(d) / variance(kept)) if method.var else 1.0
        gain = constants.get("gain", [0.0] * len(rows))
        through = [v * x for x in kept]
        dropped = [x - y for x, y in zip(d, kept, strict=True)]
        y = []
        for o, row in enumerate(rows):
            value = dot(through, row) * (1 + gain[o])
            value += dot(eta, row)
            value += 0.0 if bias is None else bias[o]
            value += constants["bias"][o] if "bias" in constants else 0.0
            if "left" in constants:
                # B is of W, and so are the scaled activations' weights: B diag(s).
                inner = [
                    dot(dropped, [b * factor for b, factor in zip(part, s, strict=True)])
                    for part in constants["right"]
                ]
                value += dot(inner, constants["left"][o])
            y.append(value)
        outputs.append(y)
    return outputs
