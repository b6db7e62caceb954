"""The PE on every product of a slot: all pairs of int4, every mask, in every way to choose weights.

That the sums are those of the definition is computed here, apart from the golden model.  And the
same stimulus through PEs that come by their weights in different ways.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

import pytest
import torch

from hw.config import WEIGHT_SELECTS, UnitConfig
from hw.ports import input_streams
from sim.captured import Captured
from sim.runner import BenchResult
from sim.stimuli import KINDS, stimuli
from sim.words import payload_words
from sw.metadata import decode
from sw.packing import pack

pytestmark = pytest.mark.slow

LANES = list(combinations(range(4), 2))


def _signed(code: int) -> int:
    return code - 16 if code >= 8 else code


def _groups(slot: int) -> list[tuple[tuple[int, int], tuple[int, int], list[int]]]:
    """Lanes, values and weights: all pairs of factors in a slot; the rest differs everywhere."""
    groups = []
    for number, (lanes, first, second) in enumerate(
        (lanes, first, second) for lanes in LANES for first in range(16) for second in range(16)
    ):
        other = (7 * number + 3) % 16
        weights = [(5 * number + 11 * lane + 1) % 16 for lane in range(4)]
        weights[lanes[slot]] = second
        values = (first, other) if slot == 0 else (other, first)
        groups.append((lanes, values, weights))
    return groups


def _packed(codes: list[int]) -> int:
    return sum(code << 4 * place for place, code in enumerate(codes))


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("weight_select", WEIGHT_SELECTS)
def test_every_product(weight_select: str, slot: int, bench: Callable[..., BenchResult]) -> None:
    """Every group is a reduction of its own."""
    config = UnitConfig(
        n=2, m=4, unit="pe", dtype="int4", acc_width=10, weight_select=weight_select
    )
    groups = _groups(slot)
    bitmaps = [sum(1 << lane for lane in lanes) for lanes, _, _ in groups]
    values = [_packed(list(pair)) for _, pair, _ in groups]
    last = [1] * len(groups)
    if weight_select == "gather":
        asked = [_packed([weights[lane] for lane in lanes]) for lanes, _, weights in groups]
        given = {
            "i": list(zip(values, bitmaps, last, strict=True)),
            "i_weights": [(row,) for row in asked],
        }
    else:
        rows = [_packed(weights) for _, _, weights in groups]
        given = {"i": list(zip(values, bitmaps, rows, last, strict=True))}
    result = bench(config, given=given, tests="without_stalls")
    expected = [
        sum(
            _signed(value) * _signed(weights[lane]) for value, lane in zip(pair, lanes, strict=True)
        )
        for lanes, pair, weights in groups
    ]
    assert _sums(result) == [(total % (1 << 10), 0) for total in expected]


def _sums(result: BenchResult) -> list[tuple[int, ...]]:
    return [tuple(word) for word in result.outputs["without_stalls"]["o"]]


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("n", [2, 4])
def test_every_product_of_packed_weights(
    n: int, slot: int, bench: Callable[..., BenchResult]
) -> None:
    """2:4 weights by activations that are packed too, or of which all are there.

    All pairs of masks, and all pairs of factors where the slot's weight meets an activation.
    """
    config = UnitConfig(n=n, m=4, unit="pe", dtype="int4", acc_width=10, weights=(2, 4))
    masks = list(combinations(range(4), n))
    words, expected = [], []
    for number, (own, other, first, second) in enumerate(
        product(masks, LANES, range(16), range(16))
    ):
        values = {lane: (3 * number + 5 * lane) % 16 for lane in own}
        weights = {lane: (7 * number + 11 * lane + 1) % 16 for lane in other}
        weights[other[slot]] = second
        if other[slot] in values:
            values[other[slot]] = first
        bitmaps = [sum(1 << lane for lane in lanes) for lanes in (own, other)]
        words.append(
            (_packed([*values.values()]), bitmaps[0], _packed([*weights.values()]), 1, bitmaps[1])
        )
        expected.append(
            sum(_signed(values[lane]) * _signed(weights[lane]) for lane in {*own} & {*other})
        )
    assert list(input_streams(config)["i"]) == ["values", "meta", "weights", "last", "weight_meta"]
    result = bench(config, given={"i": words}, tests="without_stalls")
    assert _sums(result) == [(total % (1 << 10), 0) for total in expected]


@pytest.mark.parametrize(
    ("n", "m", "dtype", "weight_dtype", "metadata"),
    [
        (2, 4, "fp8_e5m2", "fp8_e5m2", "index"),
        (3, 7, "bf16", "bf16", "bitmap"),
        (3, 7, "fp16", "fp8_e4m3", "enumerative"),
        (3, 7, "int8", "int4", "bitmap-implied"),
    ],
)
def test_same_sums(
    n: int,
    m: int,
    dtype: str,
    weight_dtype: str,
    metadata: str,
    bench: Callable[..., BenchResult],
    captured: Captured,
) -> None:
    """One stimulus, illegal codes among it, gives the same sums and errors in all three ways."""
    config = UnitConfig(
        n=n, m=m, unit="pe", dtype=dtype, weight_dtype=weight_dtype, metadata=metadata
    )
    payloads = [stimuli(config, kind, 300, 5, str(captured.path)) for kind in KINDS]
    payload = {
        name: torch.cat([one[name] for one in payloads]) for name in input_streams(config)["i"]
    }
    mask, illegal = decode(payload["meta"], n, m, metadata)
    assert 0 < illegal.sum() < len(mask)
    # Where the code is illegal the PE asks for lane 0 in all slots.
    asked = pack(payload["weights"], torch.where(illegal[:, None], torch.arange(m) < n, mask), n)
    asked[illegal] = payload["weights"][illegal, :1]

    outputs = []
    for weight_select in WEIGHT_SELECTS:
        other = replace(config, weight_select=weight_select)
        gathers = weight_select == "gather"
        given = {
            prefix: payload_words(payload | {"weights": asked} if gathers else payload, fields)
            for prefix, fields in input_streams(other).items()
        }
        outputs.append(_sums(bench(other, given=given, tests="without_stalls")))
    assert outputs[0] == outputs[1] == outputs[2]
    assert len({total for total, _ in outputs[0]}) > 100
    assert {error for _, error in outputs[0]} == {0, 1}
