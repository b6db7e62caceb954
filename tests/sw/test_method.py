from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import UnitConfig
from sw.criteria import CRITERIA
from sw.errors import InputError
from sw.linears import PROJECTIONS
from sw.method import PHASES, SHIFTS, Method

CANONICAL = [
    "dense",
    "2:4",
    "8:16",
    "64:64",
    "unstructured=0.5",
    "unstructured=1/3",
    "unstructured=0",
    "8:16,criterion=amber",
    "8:16,shift=d-pts-mean,var",
    "8:16,criterion=amber-code,shift=s-pts-channel,var,ls,low-rank=64,phase=prefill",
    "8:16,shift=l-pts-bias",
    "4:8,ls=scale",
    "4:8,low-rank=128:trained",
    "4:8,criterion=clact,scaling",
    "4:8,scaling=static",
    "unstructured=0.9,weights=wanda",
    "2:4,weights=wt,linears=gate+up,skip-layers=0+29",
    "16:32,exact=hw",
    "16:32,var,exact=hw,dtype=fp16,score-bits=8",
    "8:16,criterion=amber,shift=s-pts,exact=hw,scale-format=bf16",
    "8:16,linears=model.layers.*.fc1",
    "dense,skip-layers=3",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_text(text: str) -> None:
    assert str(Method.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" 8:16, var , criterion=amber", "8:16,criterion=amber,var"),
        ("8:16,criterion=act,shift=none,exact=float,phase=both", "8:16"),
        ("8:16,low-rank=64:svd", "8:16,low-rank=64"),
        ("8:16,ls=scale-bias", "8:16,ls"),
        ("8:16,scaling=dynamic", "8:16,scaling"),
        ("unstructured=.50", "unstructured=0.5"),
        ("unstructured=2/6", "unstructured=1/3"),
        ("8:16,skip-layers=9+1+9", "8:16,skip-layers=1+9"),
        ("8:16,linears=q+k+v+o+gate+up+down", "8:16"),
        ("8:16,linears=q+q", "8:16,linears=q"),
        ("8:16,exact=hw,dtype=bf16", "8:16,exact=hw"),
    ],
)
def test_other_texts(text: str, canonical: str) -> None:
    assert str(Method.parse(text)) == canonical


def test_values() -> None:
    method = Method.parse(
        "4:8,criterion=clact,shift=d-pts-median,var,ls=scale,low-rank=64:trained,phase=decode,"
        "linears=q+fc1,skip-layers=2+0"
    )
    assert method == Method(
        pattern=(4, 8),
        criterion="clact",
        shift="d-pts-median",
        var=True,
        ls="scale",
        low_rank=64,
        low_rank_source="trained",
        phase="decode",
        linears=("q", "fc1"),
        skip_layers=(0, 2),
    )
    assert Method.parse("dense") == Method()
    assert Method.parse("unstructured=0.9").pattern == Fraction(9, 10)
    assert Method().linears == PROJECTIONS


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("8:16", {}),
        ("8:16,dtype=int8,score-bits=6", {"dtype": "int8", "score_bits": 6}),
        ("8:16,criterion=amber", {"criterion": "scaled", "scale_format": "u8"}),
        ("8:16,criterion=clact,scale-format=pow2", {"criterion": "scaled", "scale_format": "pow2"}),
        ("8:16,shift=d-pts-mean", {"shift": "token"}),
        ("8:16,shift=d-pts-median,dtype=fp16", {"shift": "token", "dtype": "fp16"}),
        ("8:16,shift=s-pts", {"shift": "static"}),
        ("8:16,shift=s-pts-channel", {"shift": "lane"}),
        ("8:16,shift=l-pts", {"shift": "lane"}),
        ("8:16,shift=l-pts-bias,var,ls=none", {}),
    ],
)
def test_unit(text: str, unit: dict[str, Any]) -> None:
    expected = UnitConfig(n=8, m=16, unit="selector", **unit)
    assert Method.parse(f"{text},exact=hw").unit_config() == expected


@st.composite
def methods(draw: st.DrawFn) -> Method:
    """Any method whose options do not exclude each other."""
    pattern = draw(
        st.integers(2, 64).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m)))
        | st.fractions(0, 1, max_denominator=1000).filter(lambda ratio: ratio < 1)
    )
    scaling = draw(st.sampled_from(["none", "dynamic", "static"]))
    criteria = ["act", "clact"] if scaling != "none" else list(CRITERIA)
    shifts = [one for one in SHIFTS if scaling == "none" or not one.startswith("s-pts")]
    shift = draw(st.sampled_from(shifts))
    rank = draw(st.integers(0, 300))
    return Method(
        pattern=pattern,
        criterion=draw(st.sampled_from(criteria)),
        shift=shift,
        var=draw(st.booleans()),
        ls="none" if shift == "l-pts-bias" else draw(st.sampled_from(["scale", "scale-bias"])),
        low_rank=rank,
        low_rank_source=draw(st.sampled_from(["svd", "trained"])) if rank else "svd",
        scaling=scaling,
        phase=draw(st.sampled_from(PHASES)),
        linears=tuple(draw(st.lists(st.sampled_from(["q", "up", "a.b*"]), min_size=1))),
        skip_layers=tuple(draw(st.lists(st.integers(0, 40)))),
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(methods())
def test_text_and_back(method: Method) -> None:
    assert Method.parse(str(method)) == method


def test_text_of_a_linear_leaves_out_where_and_when() -> None:
    method = Method.parse("8:16,var,phase=decode,linears=q,skip-layers=1")
    assert method.linear_text == "8:16,var"


OPTIONS = (
    "criterion, shift, var, ls, low-rank, scaling, weights, exact, dtype, score-bits,"
    " scale-format, phase, linears, skip-layers"
)
WRONG = [
    ("", "method must begin with dense, N:M or unstructured=RATIO, not ''"),
    ("var", "method must begin with dense, N:M or unstructured=RATIO, not 'var'"),
    ("8:16:2", "method must begin with dense, N:M or unstructured=RATIO, not '8:16:2'"),
    ("-8:16", "method must begin with dense, N:M or unstructured=RATIO, not '-8:16'"),
    ("unstructured", "method must begin with dense, N:M or unstructured=RATIO, not 'unstructured'"),
    ("unstructured=half", "unstructured must be a ratio such as 0.5 or 1/3, not 'half'"),
    ("unstructured=1/0", "unstructured must be a ratio such as 0.5 or 1/3, not '1/0'"),
    ("unstructured=1", "unstructured must be a ratio of at least 0 and less than 1, not 1"),
    ("unstructured=-0.5", "unstructured must be a ratio of at least 0 and less than 1, not -0.5"),
    ("5:4", "pattern must be N:M with 1 <= N <= M and 2 <= M <= 64, not 5:4"),
    ("0:4", "pattern must be N:M with 1 <= N <= M and 2 <= M <= 64, not 0:4"),
    ("1:1", "pattern must be N:M with 1 <= N <= M and 2 <= M <= 64, not 1:1"),
    ("32:65", "pattern must be N:M with 1 <= N <= M and 2 <= M <= 64, not 32:65"),
    ("2:4,colour=red", f"method must have options of {OPTIONS}, not 'colour=red'"),
    ("2:4,", f"method must have options of {OPTIONS}, not ''"),
    ("2:4,criterion=", f"method must have options of {OPTIONS}, not 'criterion='"),
    ("2:4,var,var", "method must have var once, not again in 'var'"),
    ("2:4,ls,ls=scale", "method must have ls once, not again in 'ls=scale'"),
    ("2:4,var=yes", "var must stand alone, not with 'yes'"),
    ("2:4,criterion=wanda",
     "criterion must be of act, clact, amber, amber-code, weight-norm, var-weight, not 'wanda'"),
    ("2:4,shift=mean",
     "shift must be of none, d-pts-mean, d-pts-median, s-pts, s-pts-channel, l-pts, l-pts-bias,"
     " not 'mean'"),
    ("2:4,ls=bias", "ls must be of none, scale, scale-bias, not 'bias'"),
    ("2:4,low-rank=x", "low-rank must be a number, not 'x'"),
    ("2:4,low-rank=0", "low-rank must be at least 1, not 0"),
    ("2:4,low-rank=8:qr", "low-rank must be of svd, trained, not 'qr'"),
    ("2:4,scaling=often", "scaling must be of none, dynamic, static, not 'often'"),
    ("2:4,weights=sparsegpt", "weights must be of none, wt, wanda, not 'sparsegpt'"),
    ("2:4,exact=rtl", "exact must be of float, hw, not 'rtl'"),
    ("2:4,phase=both+", "phase must be of prefill, decode, both, not 'both+'"),
    ("2:4,linears=q++v", "linears must be names, not 'q++v'"),
    ("2:4,skip-layers=first", "skip-layers must be a number, not 'first'"),
    # What excludes each other.
    ("dense,criterion=amber", "dense must stand without criterion, not with criterion=amber"),
    ("dense,shift=d-pts-mean", "dense must stand without shift, not with shift=d-pts-mean"),
    ("dense,var", "dense must stand without var, not with var"),
    ("dense,ls", "dense must stand without ls, not with ls"),
    ("dense,low-rank=4", "dense must stand without low-rank, not with low-rank=4"),
    ("dense,scaling", "dense must stand without scaling, not with scaling"),
    ("dense,weights=wt", "dense must stand without weights, not with weights=wt"),
    ("dense,exact=hw", "dense must stand without exact, not with exact=hw"),
    ("dense,phase=decode", "dense must stand without phase, not with phase=decode"),
    ("2:4,weights=wt,criterion=amber",
     "weights=wt must leave the activations dense, not with criterion=amber"),
    ("2:4,weights=wanda,shift=d-pts-mean",
     "weights=wanda must leave the activations dense, not with shift=d-pts-mean"),
    ("2:4,weights=wanda,var", "weights=wanda must leave the activations dense, not with var"),
    ("2:4,weights=wt,phase=prefill",
     "weights=wt must leave the activations dense, not with phase=prefill"),
    ("2:4,shift=l-pts-bias,ls",
     "shift=l-pts-bias must stand without ls, not with ls (ls learns that bias too)"),
    ("2:4,shift=l-pts-bias,ls=scale",
     "shift=l-pts-bias must stand without ls, not with ls=scale (ls learns that bias too)"),
    ("2:4,scaling,criterion=weight-norm",
     "scaling must stand with criterion act or clact, not with criterion=weight-norm (it changes"
     " the weights that this one measures)"),
    ("2:4,scaling,shift=s-pts",
     "scaling must stand without a calibrated shift, not with shift=s-pts (it is that of unscaled"
     " activations)"),
    ("2:4,dtype=fp16", "dtype must stand with exact=hw, not without (dtype=fp16)"),
    ("2:4,score-bits=8", "score-bits must stand with exact=hw, not without (score-bits=8)"),
    ("unstructured=0.5,exact=hw", "exact=hw must have a pattern N:M, not unstructured=0.5"),
    ("2:4,scale-format=u4", "scale-format must stand with exact=hw, not without (scale-format=u4)"),
    ("2:4,exact=hw,scaling", "exact=hw must stand without scaling, not with dynamic"),
    ("2:4,exact=hw,shift=d-pts-mean,dtype=int8",
     "exact=hw must have dtype bf16 or fp16 with a shift, not int8 (the scale of each token would"
     " change the shift)"),
    ("2:4,exact=hw,scale-format=bf16",
     "scale-format must stand with scales, not with criterion=act"),
    ("2:4,exact=hw,criterion=amber,scale-format=u40",
     "scale-format must be one of u1 to u32, pow2, bf16, not 'u40'"),
    ("2:4,exact=hw,dtype=fp32",
     "dtype must be one of int4, int8, int16, fp16, bf16, fp8_e4m3, fp8_e5m2, not 'fp32'"),
    ("2:4,exact=hw,score-bits=16",
     "score-bits must be between 1 and 15, the bits of a score of bf16, not 16"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_text(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Method.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"pattern": "2:4"}, TypeError, "pattern must be (n, m), a Fraction or None, not '2:4'"),
        ({"pattern": 0.5}, TypeError, "pattern must be (n, m), a Fraction or None, not 0.5"),
        ({"pattern": (2, 4.0)}, TypeError, "m must be an integer, not 4.0"),
        ({"var": 1}, TypeError, "var must be True or False, not 1"),
        ({"low_rank": "8"}, TypeError, "low-rank must be an integer, not '8'"),
        ({"low_rank": -1}, InputError, "low-rank must be at least 0, not -1"),
        (
            {"low_rank_source": "trained"},
            InputError,
            "low-rank must have a rank to be trained, not 0",
        ),
        ({"linears": "q"}, TypeError, "linears must be a sequence of names, not 'q'"),
        ({"linears": ()}, InputError, "linears must be names, not ''"),
        ({"linears": ("a+b",)}, InputError, "linears must be names without , and +, not 'a+b'"),
        ({"skip_layers": (1.5,)}, TypeError, "skip-layers must be an integer, not 1.5"),
        ({"skip_layers": (3, -1)}, InputError, "skip-layers must be at least 0, not -1"),
    ],
)
def test_wrong_value(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        replace(Method(pattern=(2, 4)), **options)
    assert str(caught.value) == message


def test_no_unit_without_a_pattern() -> None:
    with pytest.raises(InputError) as caught:
        Method.parse("unstructured=0.5").unit_config()
    assert str(caught.value) == "exact=hw must have a pattern N:M, not unstructured=0.5"
