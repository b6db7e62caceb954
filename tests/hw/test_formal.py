"""Proofs over all inputs: selector and sparsifier keep and pack as defined."""

import pytest

from hw.config import METADATA, UnitConfig
from tests.hw.formal import miter, prove

pytest.importorskip("pyosys")

SELECTED = "o_mask == kept_of(i_data)"

WRONG_TIE = ("a == b && i < j", "a == b && i > j")
ONE_FEWER = ("beaten < N", "beaten < N - 1")


@pytest.mark.parametrize(
    ("n", "m", "dtype"),
    [
        (1, 2, "int4"),
        (2, 4, "int4"),
        (3, 5, "int4"),
        (4, 4, "int4"),
        (1, 3, "int8"),
        (2, 4, "fp8_e4m3"),
    ],
)
def test_selector_is_the_definition(n, m, dtype, tmp_path):
    config = UnitConfig(n=n, m=m, unit="selector", dtype=dtype, pipeline=0)
    # All lanes are kept whatever the tie rule where N = M.
    mistakes = [ONE_FEWER, WRONG_TIE][: 1 + (n < m)]
    prove(tmp_path, [config], miter(config, SELECTED), *mistakes)


@pytest.mark.slow
def test_selector_of_eight_lanes(tmp_path):
    config = UnitConfig(n=4, m=8, unit="selector", dtype="int4", pipeline=0)
    prove(tmp_path, [config], miter(config, SELECTED), WRONG_TIE)


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (2, 5)])
def test_sparsifier_is_the_definition(n, m, metadata, tmp_path):
    config = UnitConfig(n=n, m=m, dtype="int4", metadata=metadata, pipeline=0)
    expected = "o_values == values_of(i_data, mask) && o_meta == meta_of(mask) && o_last == i_last"
    good = miter(config, expected, "wire [M-1:0] mask = kept_of(i_data);")
    prove(
        tmp_path,
        [config],
        good,
        WRONG_TIE,
        ("o_meta == meta_of(mask)", "o_meta == meta_of({mask, mask} >> 1)"),
        ("o_last == i_last", "o_last == 0"),
    )
