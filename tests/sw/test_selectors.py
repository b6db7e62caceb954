import math
from fractions import Fraction

import pytest
import torch

from hw.score_formats import scale_format_of
from sw.errors import InputError
from sw.method import Method
from sw.selectors import FloatSelector, HardwareSelector, scale_codes, selector_of
from tests.sw.naive_linear import keep

TOKENS, FEATURES = 5, 20


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def hardware(text: str) -> HardwareSelector:
    return HardwareSelector(Method.parse(f"{text},exact=hw"))


# In floating point


@pytest.mark.parametrize("pattern", [(2, 4), (8, 16), (3, 7), Fraction("0.7")])
def test_float_is_the_definition(pattern: tuple[int, int] | Fraction) -> None:
    x, scale, shift = random(TOKENS, FEATURES), random(FEATURES).abs(), torch.tensor(0.25)
    for chosen_scale in (None, scale):
        for chosen_shift in (None, shift):
            d, mask = FloatSelector(pattern)(x, chosen_scale, chosen_shift)
            assert torch.equal(d, x if chosen_shift is None else x - 0.25)
            scores = d.abs() * (1 if chosen_scale is None else scale)
            assert mask.tolist() == [keep(row, pattern) for row in scores.tolist()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_shift_rounds_once(dtype: torch.dtype) -> None:
    x, shift = random(TOKENS, FEATURES).to(dtype), torch.tensor(0.3)
    d, _ = FloatSelector((2, 4))(x, None, shift)
    assert d.dtype == dtype
    assert torch.equal(d, (x.double() - shift.to(dtype).double()).to(dtype))


# As the RTL


def test_hardware_is_the_golden_model() -> None:
    x = random(2 * TOKENS, FEATURES).bfloat16()
    x[0, :4] = torch.tensor([1.0, 1.0078125, 1.015625, -1.0]).bfloat16()
    keys = x.view(torch.int16).long() & 0x7FFF
    # The leading bits of 15; ties go to the lower lane.
    for bits, lanes in ((15, [1, 2]), (9, [0, 1])):
        d, mask = hardware(f"2:4,score-bits={bits}")(x, None, None)
        assert torch.equal(d, x)
        assert mask.tolist() == [keep(row, (2, 4)) for row in (keys >> (15 - bits)).tolist()]
        assert mask[0, :4].nonzero().flatten().tolist() == lanes


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "int8", "fp8_e4m3"])
def test_hardware_rounds_to_the_format(dtype: str) -> None:
    x = random(TOKENS, FEATURES)
    d, mask = hardware(f"8:16,dtype={dtype}")(x, None, None)
    # Half a unit in the last place, of an integer or fp8 with the token's scale.
    steps = {"bf16": 2**-8, "fp16": 2**-11, "int8": 1 / 254, "fp8_e4m3": 2**-4}
    peak = x.abs().amax(-1, keepdim=True)
    bound = steps[dtype] * (peak if dtype == "int8" else x.abs() + peak / 2**9)
    assert bool(((d - x).abs() <= bound * 1.001).all())
    assert not torch.equal(d, x)
    assert mask.sum() == TOKENS * (8 + 4)
    # Scores are those of the rounded numbers.
    assert mask.tolist() == [keep(row, (8, 16)) for row in d.abs().tolist()]


def test_hardware_keeps_bits() -> None:
    x = torch.tensor([[math.nan, -math.inf, -0.0, 1.0]]).bfloat16()
    d, mask = hardware("3:4")(x, None, None)
    assert torch.equal(d.view(torch.int16), x.view(torch.int16))
    assert mask.tolist() == [[True, True, False, True]]


def test_act_is_the_same_in_both() -> None:
    x = (random(40, 64) * 4).round().bfloat16() / 4
    masks = [
        selector_of(Method.parse(text))(x, None, None)[1] for text in ("8:16", "8:16,exact=hw")
    ]
    assert torch.equal(*masks)


def bf16_of(exact: Fraction) -> float:
    """Rounded to nearest, ties to even; not beyond the normal numbers."""
    if exact == 0:
        return 0.0
    place = Fraction(2) ** (math.frexp(float(abs(exact)))[1] - 8)
    return float(round(exact / place) * place)


@pytest.mark.parametrize(
    ("text", "shift"),
    [
        ("static", torch.tensor(0.3)),
        ("token", random(TOKENS, 1).bfloat16()),
        ("lane", random(FEATURES) / 4),
    ],
)
@pytest.mark.parametrize("scale_format", [None, "u8", "u3", "pow2", "bf16"])
def test_hardware_with_shift_and_scale(
    text: str, shift: torch.Tensor, scale_format: str | None
) -> None:
    names = {"static": "s-pts", "token": "d-pts-mean", "lane": "s-pts-channel"}
    method = f"8:16,shift={names[text]}"
    scale = None
    if scale_format is not None:
        method += f",criterion=amber,scale-format={scale_format}"
        scale = torch.rand(FEATURES, generator=torch.Generator().manual_seed(4)) * 3
    x = random(TOKENS, FEATURES).bfloat16()
    d, mask = hardware(method)(x, scale, shift)
    every = shift.bfloat16().expand(TOKENS, FEATURES).tolist()
    expected = [
        [bf16_of(Fraction(a) - Fraction(b)) for a, b in zip(*rows, strict=True)]
        for rows in zip(x.tolist(), every, strict=True)
    ]
    assert d.dtype == torch.bfloat16
    assert d.tolist() == expected
    factors = [Fraction(1)] * FEATURES
    if scale is not None and scale_format is not None:
        factors = [scale_of(one, scale.tolist(), scale_format) for one in scale.tolist()]
    rows = [[abs(Fraction(a)) * b for a, b in zip(row, factors, strict=True)] for row in expected]
    assert mask.tolist() == [keep(row, (8, 16)) for row in rows]


def scale_of(scale: float, row: list[float], scale_format: str) -> Fraction:
    """The number that stands for a scale, up to what all of a row share."""
    if scale_format == "bf16":
        return Fraction(bf16_of(Fraction(scale)))
    if scale_format == "pow2":
        return Fraction(2) ** max(0, 15 + round(math.log2(scale / max(row))))
    return Fraction(round(Fraction(scale) / Fraction(max(row)) * (2 ** int(scale_format[1:]) - 1)))


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("u8", [0, 255, 128, 1, 0]),
        ("u1", [0, 1, 1, 0, 0]),
        ("pow2", [0, 15, 14, 7, 0]),
        # 128 / 255 is a little nearer to 129 / 256 than to 1 / 2; 2**-140 vanishes.
        ("bf16", [0, 0x3F80, 0x3F01, 0x3B80, 0]),
    ],
)
def test_scale_codes_by_hand(name: str, codes: list[int]) -> None:
    scale = torch.tensor([0.0, 1.0, 128 / 255, 2**-8, 2**-140])
    scale_format = scale_format_of(name)
    assert scale_format is not None
    assert scale_codes(scale, scale_format).tolist() == codes
    # Rows know nothing of each other, and a common factor nothing changes but bf16.
    if name != "bf16":
        both = torch.stack([scale, scale * 1000])
        assert scale_codes(both, scale_format).tolist() == [codes, codes]
    zeros = scale_codes(torch.zeros(3), scale_format).tolist()
    assert zeros == [0, 0, 0]


def test_largest_scale_in_bf16() -> None:
    scale_format = scale_format_of("bf16")
    assert scale_format is not None
    largest = torch.tensor([torch.finfo(torch.float32).max])
    assert scale_codes(largest, scale_format).tolist() == [0x7F7F]


@pytest.mark.parametrize("text", ["dense", "2:4,weights=wt"])
def test_methods_without_a_selector(text: str) -> None:
    with pytest.raises(InputError) as caught:
        selector_of(Method.parse(text))
    assert str(caught.value) == f"method must drop activations to have a selector, not {text}"
