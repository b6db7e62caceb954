import doctest
import json
import math
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import pytest
import torch

from hw.config import METADATA
from hw.formats import FORMATS
from sw import metadata_report as module
from sw.activations import Activations
from sw.errors import InputError
from sw.metadata_report import LinearMasks, PatternMasks, main
from sw.sample import SAMPLE

ROOT = Path(__file__).parents[2]

PATTERNS = [(1, 2), (2, 4), (1, 4), (3, 5), (6, 7), (4, 8), (4, 4)]

#: Bits a group in the order of `METADATA`, from the definition of each code.
BITS = {
    (2, 4): (4, 4, 3, 3),
    (4, 8): (8, 12, 7, 7),
    (8, 16): (16, 32, 15, 14),
    (16, 32): (32, 80, 31, 30),
    (1, 4): (4, 2, 3, 2),
    (2, 8): (8, 6, 7, 5),
    (4, 16): (16, 16, 15, 11),
    (8, 32): (32, 40, 31, 24),
}


def odds_of(groups: int, m: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.exp(2 * torch.randn(groups, m, generator=generator, dtype=torch.float64))


def every_mask(n: int, m: int) -> torch.Tensor:
    return torch.tensor([[j in lanes for j in range(m)] for lanes in combinations(range(m), n)])


def products(odds: torch.Tensor, n: int) -> torch.Tensor:
    """Product of the odds of each set of n lanes: (groups, sets)."""
    return torch.stack(
        [odds[:, list(s)].prod(-1) for s in combinations(range(odds.shape[-1]), n)], 1
    )


def activations_of(masks: torch.Tensor, name: str = "layers.0.q_proj") -> Activations:
    """Activations of which magnitude keeps just these lanes: bool (tokens, features)."""
    return Activations({name: torch.where(masks, 2.0, -1.0)}, {})


def only(masks: torch.Tensor, n: int, m: int) -> PatternMasks:
    return module.measure(activations_of(masks), [(n, m)], "bf16", progress=False)[0]


# The oracles.  Each is a test, and fails with the bugs further down.


def check_symmetric_polynomials() -> None:
    for m in range(1, 7):
        odds = odds_of(5, m)
        for n in range(m + 1):
            got = module.log_elementary_symmetric(odds.log(), n)
            torch.testing.assert_close(got.exp(), products(odds, n).sum(-1), rtol=1e-12, atol=0)


def check_conditional_bernoulli() -> None:
    """Probability of a mask of independent lanes, over that of all masks with as many ones."""
    for n, m in PATTERNS:
        keep = odds_of(3, m) / (1 + odds_of(3, m))
        masks = every_mask(n, m)
        lanes = torch.where(masks.unsqueeze(0), keep.unsqueeze(1), 1 - keep.unsqueeze(1))
        independent = lanes.prod(-1)
        expected = -torch.log2(independent / independent.sum(-1, keepdim=True))
        got = module.mask_bits(masks.unsqueeze(1), torch.logit(keep), n).T
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def check_fit() -> None:
    """Summed over all masks, each lane is kept as often as it was asked to be."""
    for n, m in PATTERNS:
        weights = products(odds_of(4, m, seed=2), n)
        keep = (weights / weights.sum(-1, keepdim=True)) @ every_mask(n, m).double()
        odds = module.fit_log_odds(keep, n).exp()
        weights = products(odds, n)
        got = (weights / weights.sum(-1, keepdim=True)) @ every_mask(n, m).double()
        torch.testing.assert_close(got, keep, rtol=0, atol=2e-9)


def check_keep_probabilities() -> None:
    masks = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    got = module.keep_probabilities(masks, 1)
    assert got.tolist() == [2.25 / 4, 1.25 / 4, 0.25 / 4, 0.25 / 4]


def check_pooled_entropy() -> None:
    # 1/2, 1/4, 1/4 have 1.5 bits; three things in eight draws add 2 / (16 ln 2).
    got = module.pooled_entropy(torch.tensor([4, 0, 2, 2]))
    assert got == pytest.approx(1.5 + 2 / (16 * math.log(2)), abs=1e-12)


def check_halves() -> None:
    """Fitted on the first half, evaluated on the second, where everything is the other way round.

    Of three tokens the first is one half: p = 1.5 / 2 and 0.5 / 2.
    """
    masks = torch.tensor([[True, False], [False, True], [False, True]])
    found = only(masks, 1, 2)
    assert found.linears["layers.0.q_proj"].groups == 2
    assert found.per_lane == pytest.approx(-math.log2(0.25), abs=1e-8)
    # Odds of 3 and 1 / 3 without the fit: 9 to 1.
    assert found.plain_odds == pytest.approx(-math.log2(0.1), abs=1e-12)


def check_compression() -> None:
    for (n, m), sizes in BITS.items():
        for bits in sizes:
            for width in (4, 8, 16):
                expected = float(Fraction(m * width, n * width + bits))
                assert module.compression_ratio(n, m, width, bits) == pytest.approx(expected)


def check_bits() -> None:
    masks = PatternMasks(8, 16, {"a": LinearMasks(1, 12.0, 13.0)})
    assert [masks.to_win(code) for code in METADATA] == [4, 20, 3, 2]
    assert masks.to_win_percent("enumerative", 16) == pytest.approx(100 * 2 / (8 * 16 + 14))
    for (n, m), bits in BITS.items():
        assert tuple(module.metadata_bits(code, n, m) for code in METADATA) == bits


CHECKS: list[Callable[[], None]] = [
    check_symmetric_polynomials,
    check_conditional_bernoulli,
    check_fit,
    check_keep_probabilities,
    check_pooled_entropy,
    check_halves,
    check_compression,
    check_bits,
]


@pytest.mark.parametrize("check", CHECKS)
def test_oracle(check: Callable[[], None]) -> None:
    check()


def with_repetition(log_odds: torch.Tensor, n: int) -> torch.Tensor:
    """The complete homogeneous polynomial: a lane may come more than once."""
    terms = [1.0 + 0 * log_odds[..., 0].exp(), *[0 * log_odds[..., 0]] * n]
    for lane in log_odds.exp().unbind(-1):
        for k in range(1, n + 1):
            terms[k] = terms[k] + lane * terms[k - 1]
    return terms[n].log()


def not_conditional(mask: torch.Tensor, log_odds: torch.Tensor, _n: int) -> torch.Tensor:
    keep = torch.sigmoid(log_odds)
    return -torch.where(mask, keep, 1 - keep).log2().sum(-1)


def uncorrected(counts: torch.Tensor) -> float:
    seen = counts[counts > 0] / counts.sum()
    return float(-(seen * seen.log2()).sum())


def halves_swapped(result: PatternMasks, name: str, mask: torch.Tensor) -> None:
    ADD_LINEAR(result, name, mask.flip(0))


ADD_LINEAR = module._add_linear
MASK_BITS = module.mask_bits

SEEDED: list[tuple[str, Any, Callable[[], None]]] = [
    ("log_elementary_symmetric", with_repetition, check_symmetric_polynomials),
    ("mask_bits", not_conditional, check_conditional_bernoulli),
    ("mask_bits", lambda *given: MASK_BITS(*given) * math.log(2), check_conditional_bernoulli),
    ("fit_log_odds", lambda keep, _n: torch.logit(keep.clamp(1e-9, 1 - 1e-9)), check_fit),
    ("keep_probabilities", lambda mask, _n: mask.double().mean(0), check_keep_probabilities),
    ("pooled_entropy", uncorrected, check_pooled_entropy),
    ("_add_linear", halves_swapped, check_halves),
    ("compression_ratio", lambda n, m, w, bits: n * w / (m * w + bits), check_compression),
    ("metadata_bits", lambda _code, _n, m: m, check_bits),
]


@pytest.mark.parametrize(("function", "bug", "check"), SEEDED)
def test_oracle_finds_a_seeded_bug(
    monkeypatch: pytest.MonkeyPatch, function: str, bug: Any, check: Callable[[], None]
) -> None:
    monkeypatch.setattr(module, function, bug)
    with pytest.raises(AssertionError):
        check()


# Polynomials and odds


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(("n", "m"), [*BITS, (32, 64), (3, 5), (7, 7), (1, 64), (63, 64)])
def test_equal_probabilities_give_all_masks_alike(n: int, m: int) -> None:
    keep = torch.full((2, m), n / m, dtype=torch.float64)
    mask = torch.arange(m) < n
    expected = pytest.approx(math.log2(comb(m, n)), abs=1e-11)
    assert module.mask_bits(mask, module.fit_log_odds(keep, n), n).tolist() == [expected] * 2


def test_extreme_odds_do_not_overflow() -> None:
    log_odds = torch.tensor([700.0] * 32 + [-700.0] * 32, dtype=torch.float64)
    likely, unlikely = torch.arange(64) < 32, torch.arange(64) >= 32
    assert float(module.mask_bits(likely, log_odds, 32)) == pytest.approx(0, abs=1e-9)
    expected = 32 * 1400 / math.log(2)
    assert float(module.mask_bits(unlikely, log_odds, 32)) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16), (16, 32), (32, 64), (1, 64)])
@pytest.mark.parametrize("tokens", [1, 1000, 1000000])
def test_fit_ends_with_lanes_that_are_all_but_sure(n: int, m: int, tokens: int) -> None:
    kept = torch.where(torch.arange(m) < n, float(tokens), 0.0).double()
    keep = (kept + n / m) / (tokens + 1)
    log_odds = module.fit_log_odds(keep, n)
    fitted = torch.sigmoid(log_odds + module._log_ratios(log_odds, n))
    torch.testing.assert_close(fitted, keep, rtol=0, atol=2e-9)


def test_fit_refuses_what_no_odds_have() -> None:
    with pytest.raises(ValueError) as caught:
        module.fit_log_odds(torch.tensor([0.5, 0.6], dtype=torch.float64), 1)
    assert str(caught.value) == "keep must add up to 1 in each group"
    with pytest.raises(ValueError) as caught:
        module.fit_log_odds(torch.tensor([1.0, 0.0], dtype=torch.float64), 1)
    assert str(caught.value) == "keep must be above 0 and below 1 in each lane"


# Masks of known entropy


@pytest.mark.parametrize("tokens", [20, 2000])
def test_always_the_same_mask(tokens: int) -> None:
    masks = torch.tensor([False, True] * 8).expand(tokens, 16)
    for n, m in ((1, 2), (2, 4), (8, 16)):
        found = only(masks, n, m)
        # Half of the tokens were seen, all with one mask, and one more with all masks alike.
        assert 0 < found.per_lane < 4 * n / (tokens / 2)
        assert found.lowest == (found.per_lane if found.pooled is None else 0)
    pair = only(masks, 1, 2)
    seen = tokens / 2
    assert pair.per_lane == pytest.approx(-math.log2((seen + 0.5) / (seen + 1)), abs=1e-8)
    assert pair.pooled == 0


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 5), (4, 8), (2, 8)])
def test_random_masks_have_the_entropy_of_all_alike(n: int, m: int) -> None:
    generator = torch.Generator().manual_seed(3)
    tokens, groups = 800, 32
    x = torch.randn(tokens, groups * m, generator=generator)
    found = module.measure(Activations({"a": x}, {}), [(n, m)], "fp16", progress=False)[0]
    assert found.groups == tokens * groups
    assert found.pooled == pytest.approx(found.uniform, abs=2e-3)
    # M - 1 numbers fitted to half of the tokens cost (M - 1) / (2 ln 2 tokens / 2) bits.
    cost = (m - 1) / (tokens * math.log(2))
    assert found.per_lane == pytest.approx(found.uniform + cost, abs=cost)


def test_entropy_of_lanes_of_their_own() -> None:
    """1:2 with lane 0 kept in 9 of 10 tokens in some groups, in 1 of 10 in the others.

    Per lane 0.469 bits a group; together the two masks are as frequent: 1 bit.
    """
    generator = torch.Generator().manual_seed(4)
    likely = torch.rand(4000, 64, generator=generator) < 0.9
    first = torch.where(torch.arange(64) < 32, likely, ~likely)
    masks = torch.stack([first, ~first], -1).flatten(1)
    found = only(masks, 1, 2)
    entropy = -0.9 * math.log2(0.9) - 0.1 * math.log2(0.1)
    assert found.per_lane == pytest.approx(entropy, abs=5e-3)
    assert found.pooled == pytest.approx(1, abs=1e-3)
    assert found.lowest == found.per_lane
    # Not fitted, the odds of 9 become 81: -0.9 log2 81/82 - 0.1 log2 1/82.
    plain = -0.9 * math.log2(81 / 82) - 0.1 * math.log2(1 / 82)
    assert found.plain_odds == pytest.approx(plain, abs=2e-2)


def test_no_model_is_used_that_is_worse_than_all_alike() -> None:
    masks = torch.tensor([[True, False], [False, True]])
    found = only(masks, 1, 2)
    assert found.per_lane > found.uniform
    assert found.lowest == found.uniform


def test_linears_count_by_their_groups() -> None:
    same = torch.tensor([[True, False]]).expand(40, 2)
    generator = torch.Generator().manual_seed(5)
    first = torch.rand(40, 3, generator=generator) < 0.5
    masks = torch.stack([first, ~first], -1).flatten(1)
    tensors = {name: torch.where(mask, 2.0, 1.0) for name, mask in (("a", same), ("b", masks))}
    found = module.measure(Activations(tensors, {}), [(1, 2)], "bf16", progress=False)[0]
    alone = {"a": only(same, 1, 2), "b": only(masks, 1, 2)}
    assert found.per_lane == pytest.approx((alone["a"].per_lane + 3 * alone["b"].per_lane) / 4)
    assert {name: linear.per_lane for name, linear in found.linears.items()} == {
        name: one.per_lane for name, one in alone.items()
    }
    counts = alone["a"].counts + alone["b"].counts
    assert found.counts.tolist() == counts.tolist()
    assert found.groups == 40 + 120


def test_pooled_needs_groups() -> None:
    for tokens, enough in ((59, False), (60, True)):
        found = only(torch.tensor([True, True, False, False]).expand(tokens, 4), 2, 4)
        assert (found.pooled is not None) == enough


def test_rows_are_padded() -> None:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(30, 10, generator=generator)
    padded = torch.nn.functional.pad(x, (0, 2))
    results = [
        module.measure(Activations({"a": rows}, {}), [(2, 4)], "bf16", progress=False)[0]
        for rows in (x, padded)
    ]
    assert results[0].groups == 90
    assert results[0].linears == results[1].linears


def test_number_format_decides_the_masks() -> None:
    # 1 and 1.1 are the same in int4 next to 8: the tie goes to the lower lane.
    x = torch.tensor([[1.0, 1.1, 8.0, 8.0], [1.1, 1.0, 8.0, 8.0]] * 20)
    found = {
        dtype: module.measure(Activations({"a": x}, {}), [(1, 2)], dtype, progress=False)[0]
        for dtype in ("bf16", "int4")
    }
    assert found["int4"].pooled == 0
    assert found["bf16"].pooled > 0.5


def test_all_lanes_kept() -> None:
    found = only(torch.ones(60, 4, dtype=torch.bool), 4, 4)
    assert (found.uniform, found.pooled, found.per_lane, found.plain_odds) == (0, 0, 0, 0)
    assert found.to_win("enumerative") == 0


def test_one_token_is_not_enough() -> None:
    with pytest.raises(InputError) as caught:
        only(torch.tensor([[True, False]]), 1, 2)
    assert str(caught.value) == (
        "activations must have at least two tokens, one half to fit the model and one to evaluate"
        " it, not 1 in 'layers.0.q_proj'"
    )


# The command line


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line on a small file; later options win."""
    generator = torch.Generator().manual_seed(7)
    tensors = {
        f"layers.0.{name}_proj": torch.randn(20, 32, generator=generator) for name in ("q", "down")
    }
    Activations(tensors, {"model": "a|b", "token0": "exclude"}).write(tmp_path / "a.safetensors")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main(["--activations", str(tmp_path / "a.safetensors"), *arguments])
        except SystemExit as stop:
            status = int(str(stop.code))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_files(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    status, out, err = run("--patterns", "2:4,4:8", "--dtype", "int8", "-o", str(folder))
    assert (status, err) == (0, "")
    paths = folder / "metadata.json", folder / "metadata.md"
    assert out.splitlines()[-1] == f"wrote {paths[0]} and {paths[1]}"
    assert sorted(folder.iterdir()) == list(paths)
    content = json.loads(paths[0].read_text())
    assert content["context"]["command"] == (
        "python -m sw.metadata_report --activations a.safetensors --patterns 2:4,4:8 --dtype int8"
    )
    assert content["context"]["activations"] == {"model": "a|b", "token0": "exclude"}
    assert content["context"]["file"] == "a.safetensors"
    assert content["context"]["linears"] == {
        "layers.0.q_proj": [20, 32], "layers.0.down_proj": [20, 32],
    }  # fmt: skip
    assert [pattern["pattern"] for pattern in content["patterns"]] == ["2:4", "4:8"]
    markdown = paths[1].read_text()
    assert content["context"]["command"] in markdown
    assert "a\\|b" in markdown
    assert "the first token of each window is left out" in markdown
    assert "too few groups at 4:8 (160)" in markdown
    for path in paths:
        assert str(tmp_path) not in path.read_text()
    before = [path.read_bytes() for path in paths]
    run("--patterns", "2:4,4:8", "--dtype", "int8", "-o", str(folder))
    assert [path.read_bytes() for path in paths] == before


def test_record_of_a_pattern(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    patterns = ",".join(f"{n}:{m}" for n, m in BITS)
    run("--patterns", patterns, "--dtype", "int8", "-o", str(tmp_path))
    for record in json.loads((tmp_path / "metadata.json").read_text())["patterns"]:
        n, m = map(int, record["pattern"].split(":"))
        assert record["masks"] == comb(m, n)
        assert record["groups"] == 2 * 20 * 32 // m
        assert record["uniform_bits"] == pytest.approx(math.log2(comb(m, n)), abs=1e-6)
        models = [record[f"{name}_bits"] for name in ("uniform", "pooled", "per_lane")]
        lowest = min(bits for bits in models if bits is not None)
        for code, bits in zip(METADATA, BITS[n, m], strict=True):
            found = record["codes"][code]
            assert found["bits"] == bits
            assert found["bits_per_element"] == bits / m
            assert found["to_win_bits_per_element"] == pytest.approx((bits - lowest) / m, abs=2e-6)
            percent = 100 * (bits - lowest) / (8 * n + bits)
            assert found["to_win_percent"] == pytest.approx(percent, abs=1e-4)
            for name, form in FORMATS.items():
                ratio = m * form.width / (n * form.width + bits)
                assert found["compression_ratio"][name] == pytest.approx(ratio, abs=1e-6)
        assert set(record["linears"]) == {"layers.0.q_proj", "layers.0.down_proj"}


def test_linears_by_wildcard(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    run("--patterns", "2:4", "--linears", "*.down_proj", "-o", str(tmp_path))
    content = json.loads((tmp_path / "metadata.json").read_text())
    assert list(content["patterns"][0]["linears"]) == ["layers.0.down_proj"]
    assert content["context"]["command"].endswith(" --linears '*.down_proj'")


def test_on_the_sample(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = str(SAMPLE.relative_to(ROOT))
    assert main(["--activations", path, "--patterns", "2:4", "--linears", "layers.29.*"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Bits of metadata for each dense element"
    cells = [line.split()[:5] for line in out if line.startswith("2:4 ")][:4]
    assert cells == [
        ["2:4", "bitmap", "4", "1.0000", "0.6462"],
        ["2:4", "index", "4", "1.0000", "0.6462"],
        ["2:4", "bitmap-implied", "3", "0.7500", "0.6462"],
        ["2:4", "enumerative", "3", "0.7500", "0.6462"],
    ]
    # What masks of bf16 have in common says nothing of the other formats.
    limits = [line.split()[-3:] for line in out if line.startswith("2:4 ") and "entropy" in line]
    assert [limit[:2] for limit in limits] == [["-", "-"]]
    assert 64 / 35 < float(limits[0][2]) < 64 / 32
    # Nothing is written without -o, and the sample says that token 0 is there.
    assert out[-1] == "the first token of each window is included"


WRONG = [
    (["--patterns", "5:4"], "argument --patterns: n must be between 1 and m = 4, not 5"),
    (["--patterns", "1:65"], "argument --patterns: m must be between 2 and 64, not 65"),
    (["--patterns", "2:4,2:4"],
     "argument --patterns: must be different patterns, not '2:4,2:4'"),
    (["--patterns", "2-4"],
     "argument --patterns: must be a list of patterns N:M such as 2:4,4:8,8:16,16:32, not '2-4'"),
    (["--dtype", "int3"],
     "dtype must be one of int4, int8, int16, fp16, bf16, fp8_e4m3, fp8_e5m2, not 'int3'"),
    (["--linears", "*.o_proj"],
     "linears must match some of layers.0.q_proj, layers.0.down_proj, not '*.o_proj'"),
    (["--activations", "/no/such"],
     "activations file '/no/such' must be a readable file: No such file or directory"),
    (["--acti", "x"], "unrecognized arguments: --acti x"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_argument(
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    assert run("-o", str(tmp_path / "out"), *arguments) == (
        2,
        "",
        f"python -m sw.metadata_report: error: {message}\n",
    )
    assert not (tmp_path / "out").exists()


def test_values_that_the_number_format_lacks(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "b.safetensors"
    Activations({"a": torch.tensor([[1.0, math.nan], [1.0, 2.0]])}, {}).write(path)
    assert run("--activations", str(path), "--dtype", "int8") == (
        2,
        "",
        "python -m sw.metadata_report: error: x must be finite to become int8, not NaN or infinite"
        " 1 times\n",
    )


@pytest.mark.parametrize("output", ["file", "file/folder"])
def test_output_that_cannot_be_written(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, output: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / output
    assert run("-o", str(path)) == (
        2,
        "",
        "python -m sw.metadata_report: error: output must be a folder that can be written, not"
        f" {str(path)!r}\n",
    )


def test_output_that_fails_at_the_end(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_contents: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_files", full)
    status, _, err = run("--patterns", "2:4", "-o", str(tmp_path))
    assert status == 2
    assert err == (
        "python -m sw.metadata_report: error: output must be a folder that can be written, not"
        f" {str(tmp_path)!r} (No space left on device)\n"
    )


def test_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sw.metadata_report"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python -m sw.metadata_report: error: the following arguments are required: --activations\n"
    )


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "(default: 2:4,4:8,8:16,16:32)" in out
    assert "SUPPRESS" not in out
    assert str(ROOT) not in out
