import random
from dataclasses import replace

import pytest
import torch

import sw.golden
import sw.tile
from hw.config import UnitConfig
from hw.formats import FORMATS
from sw.golden import unit_model
from tests.mutant import mutant
from tests.sw import naive
from tests.sw.test_golden import check_shape

HALVES = ((1, 2), (2, 4), (4, 8))

Stream = dict[str, list[list[int]]]


def stream_of(config: UnitConfig, steps: int) -> Stream:
    """Reductions of some steps; the ends of the ranges come often, as do equal magnitudes."""
    chosen = random.Random(config.rows * 100 + config.cols)

    def codes(count: int, dtype: str) -> list[int]:
        every = 1 << FORMATS[dtype].width
        few = [every // 2, every // 2 - 1, chosen.randrange(every)]
        return [chosen.choice([*few, chosen.randrange(every)]) for _ in range(count)]

    stream = {
        "data": [codes(config.rows * config.m, config.dtype) for _ in range(steps)],
        "last": [[int(chosen.random() < 0.3)] for _ in range(steps)],
        "weights": [codes(config.cols * config.m, config.weight_format.name) for _ in range(steps)],
    }
    if config.flexible:
        patterns = range(1 << config.pattern_width)
        stream["pattern"] = [
            [chosen.choice(patterns) for _ in range(config.rows)] for _ in stream["last"]
        ]
    if config.scale:
        stream["scale"] = [[chosen.randrange(4) for _ in range(config.m)] for _ in range(steps)]
    return stream


def kept_lanes(
    config: UnitConfig, data: list[int], scale: list[int], pattern: int
) -> list[int] | None:
    """Lanes that a row keeps; None where its pattern does not exist."""
    keys = [naive.key(code, config.dtype) * s for code, s in zip(data, scale, strict=True)]
    if pattern >= len(config.patterns):
        return None
    n, m = config.patterns[pattern]
    return [
        start + lane
        for start in range(0, config.m, m)
        for lane in naive.kept(keys[start : start + m], n)
    ]


def results_of(config: UnitConfig, stream: Stream) -> list[tuple[list[int], list[int]]]:
    """Sums and errors of each reduction, one row, one column, one lane after the other."""
    m, rows, cols = config.m, config.rows, config.cols
    results = []
    sums, errors = [0] * (rows * cols), [0] * rows
    for step, (last,) in enumerate(stream["last"]):
        scale = stream["scale"][step] if "scale" in stream else [1] * m
        for r in range(rows):
            data = stream["data"][step][r * m : (r + 1) * m]
            pattern = stream["pattern"][step][r] if "pattern" in stream else 0
            lanes = kept_lanes(config, data, scale, pattern)
            errors[r] |= int(lanes is None and config.check)
            for c in range(cols):
                weights = stream["weights"][step][c * m : (c + 1) * m]
                total = sums[r * cols + c]
                for lane in lanes or []:
                    value = naive.signed(data[lane], config.format.width)
                    total += value * naive.signed(weights[lane], config.weight_format.width)
                sums[r * cols + c] = naive.limited(total, config.acc_width, config.overflow)
        if last:
            results.append((sums, errors))
            sums, errors = [0] * (rows * cols), [0] * rows
    return results


CONFIGS = [
    UnitConfig(n=2, m=4, unit="tile", dtype="int8", rows=1, cols=1),
    UnitConfig(n=8, m=16, unit="tile", dtype="int8", weight_dtype="int4", rows=2, cols=3),
    UnitConfig(
        n=3, m=7, unit="tile", dtype="int16", rows=3, cols=2, acc_width=30, overflow="saturate",
        criterion="scaled",
    ),
    UnitConfig(n=5, m=5, unit="tile", dtype="int4", rows=2, cols=2, acc_width=7),
    UnitConfig(flexible=HALVES, unit="tile", dtype="int4", rows=3, cols=2),
    UnitConfig(flexible=HALVES[:2], unit="tile", dtype="int4", rows=1, cols=2),
]  # fmt: skip


def tensors(stream: Stream) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(column) for name, column in stream.items()}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.top)
def test_tile(config):
    stream = stream_of(config, 60)
    outputs = unit_model(config)(tensors(stream))
    check_shape(config, outputs)
    results = results_of(config, stream)
    assert len(results) > 5
    modulus = 1 << config.acc_width
    assert outputs["sum"].tolist() == [[total % modulus for total in sums] for sums, _ in results]
    assert outputs["error"].tolist() == [errors for _, errors in results]
    assert any(any(errors) for _, errors in results) == config.has_illegal_patterns


@pytest.mark.parametrize("config", CONFIGS[:1], ids=lambda config: config.top)
@pytest.mark.parametrize("shorter", ["activations", "weights"])
def test_a_step_needs_both_streams(config, shorter):
    """What is left over in one of them makes nothing."""
    stream = stream_of(config, 20)
    short = {name: column[:11] for name, column in stream.items()}
    expected = unit_model(config)(tensors(short))
    names = ("weights",) if shorter == "weights" else ("data", "last")
    mixed = {name: (short if name in names else stream)[name] for name in stream}
    outputs = unit_model(config)(tensors(mixed))
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("n", "pattern"), [(3, None), (7, None), (None, HALVES)])
def test_floats_are_those_of_a_sparsifier_and_a_pe(n, pattern):
    """Whose models are held against definitions of their own."""
    shape = {"flexible": pattern} if pattern else {"n": n, "m": 7}
    config = UnitConfig(**shape, unit="tile", dtype="bf16", rows=2, cols=3, align_bits=20)
    stream = stream_of(config, 40)
    outputs = unit_model(config)(tensors(stream))
    check_shape(config, outputs)
    m = config.m
    for r in range(2):
        data = torch.tensor([row[r * m : (r + 1) * m] for row in stream["data"]])
        row = {"data": data, "last": torch.tensor(stream["last"])}
        if pattern:
            row["pattern"] = torch.tensor([[step[r]] for step in stream["pattern"]])
        kept = unit_model(replace(config, unit="sparsifier", align_bits=None))(row)
        for c in range(3):
            weights = torch.tensor([col[c * m : (c + 1) * m] for col in stream["weights"]])
            pe = UnitConfig(n=config.n, m=m, unit="pe", dtype="bf16", align_bits=20)
            result = unit_model(pe)({**kept, "weights": weights})
            assert outputs["sum"][:, r * 3 + c].tolist() == result["sum"].flatten().tolist()
            assert outputs["error"][:, r].tolist() == result["error"].flatten().tolist()


def test_shift_of_a_token_is_its_row_s():
    config = UnitConfig(n=1, m=2, unit="tile", dtype="int8", rows=2, cols=1, shift="token")
    inputs = {"data": [[5, 1, 5, 1]], "shift": [[5, 0]], "last": [[1]], "weights": [[10, 1]]}
    # 0 and -4 are left in the first row, 5 and 1 in the second one.
    assert unit_model(config)(tensors(inputs))["sum"].tolist() == [[(1 << 32) - 4, 50]]


def test_shift_of_lanes_is_common():
    config = UnitConfig(n=1, m=2, unit="tile", dtype="int8", rows=2, cols=1, shift="lane")
    inputs = {"data": [[5, 1, 4, 1]], "shift": [[5, 0]], "last": [[1]], "weights": [[10, 1]]}
    # 0 and 1, -1 and 1: the lower lane wins.
    assert unit_model(config)(tensors(inputs))["sum"].tolist() == [[1, (1 << 32) - 10]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("values.unsqueeze(2)", "values.flip(1).unsqueeze(2)"),
        ("weights.unsqueeze(1)", "weights.flip(1).unsqueeze(1)"),
        ("mask.unsqueeze(2)", "mask.flip(1).unsqueeze(2)"),
        ("codes.reshape(len(codes) * config.rows, -1)", "codes.reshape(-1, config.m).flip(0)"),
        ("codes[:steps] for", "codes[1:steps] for"),
    ],
)
def test_the_oracle_finds_a_mistake(old, new, monkeypatch):
    broken = mutant(sw.tile, old, new)
    for name in sw.tile.__all__:
        monkeypatch.setattr(sw.golden, name, getattr(broken, name))
    with pytest.raises((AssertionError, RuntimeError)):
        test_tile(CONFIGS[1])
