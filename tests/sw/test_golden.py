import random

import pytest
import torch

from hw.config import METADATA, UnitConfig
from hw.formats import FORMATS, INTEGER_FORMATS
from hw.ports import input_payload, output_payload
from sw.golden import sparsify, unit_model
from tests.sw import naive


def check_shape(config: UnitConfig, outputs: dict[str, torch.Tensor]) -> None:
    fields = output_payload(config)
    assert outputs.keys() == fields.keys()
    (transfers,) = {len(column) for column in outputs.values()}
    for name, field in fields.items():
        assert outputs[name].dtype == torch.int64
        assert outputs[name].shape == (transfers, field.count)
        if field.width < 64 and transfers:
            assert 0 <= int(outputs[name].min()) <= int(outputs[name].max()) < 1 << field.width


@pytest.mark.parametrize(("n", "m"), naive.PATTERNS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_sparsifier_and_selector(dtype, n, m):
    groups = naive.groups(dtype, m, 20, seed=n + m)
    lanes = [naive.kept([naive.key(code, dtype) for code in group], n) for group in groups]
    last = [[k % 3 // 2] for k in range(len(groups))]
    masks = [naive.bitmap(kept, m) for kept in lanes]
    values = [[group[lane] for lane in kept] for group, kept in zip(groups, lanes, strict=True)]
    data = torch.tensor(groups)
    for metadata, meta in (("bitmap", masks), ("index", lanes)):
        config = UnitConfig(n=n, m=m, dtype=dtype, metadata=metadata)
        outputs = unit_model(config)({"data": data, "last": torch.tensor(last)})
        check_shape(config, outputs)
        assert outputs["values"].tolist() == values
        assert outputs["meta"].tolist() == meta
        assert outputs["last"].tolist() == last
    config = UnitConfig(n=n, m=m, dtype=dtype, unit="selector")
    outputs = unit_model(config)({"data": data})
    check_shape(config, outputs)
    assert outputs["mask"].tolist() == masks


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_sparsify_shapes(shape):
    data = torch.tensor([1, 0x8003, 2, 3]).expand(*shape, 4)
    values, mask = sparsify(UnitConfig(n=2, m=4), data)
    assert torch.equal(values, torch.tensor([0x8003, 3]).expand(*shape, 2))
    assert torch.equal(mask, torch.tensor([False, True, False, True]).expand(*shape, 4))


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize(("n", "m"), naive.PATTERNS)
def test_encoder_and_decoder(n, m, metadata):
    chosen = random.Random(n * m)
    lanes = [sorted(chosen.sample(range(m), n)) for _ in range(30)]
    masks = [naive.bitmap(kept, m) for kept in lanes]
    encoder = UnitConfig(n=n, m=m, unit="encoder", metadata=metadata)
    outputs = unit_model(encoder)({"mask": torch.tensor(masks)})
    check_shape(encoder, outputs)
    assert outputs["meta"].tolist() == [naive.write_meta(kept, n, m, metadata) for kept in lanes]

    decoder = UnitConfig(n=n, m=m, unit="decoder", metadata=metadata)
    codes = outputs["meta"].tolist() + random_meta(chosen, decoder, 30)
    named = [naive.read_meta(code, n, m, metadata) for code in codes]
    outputs = unit_model(decoder)({"meta": torch.tensor(codes)})
    check_shape(decoder, outputs)
    assert outputs["mask"].tolist() == [naive.bitmap(kept or [], m) for kept in named]
    assert outputs["error"].tolist() == [[int(kept is None)] for kept in named]


def random_meta(chosen: random.Random, config: UnitConfig, count: int) -> list[list[int]]:
    field = input_payload(config)["meta"]
    return [[chosen.randrange(1 << field.width) for _ in range(field.count)] for _ in range(count)]


def pe_stream(config: UnitConfig, count: int, *, illegal: float) -> dict[str, list[list[int]]]:
    """Groups with reductions of one to five; the ends of the ranges come often."""
    chosen = random.Random(config.acc_width + config.m)
    n, m = config.n, config.m

    def codes(size: int, dtype: str) -> list[int]:
        every = 1 << FORMATS[dtype].width
        extremes = [every // 2, every // 2 - 1]
        return [chosen.choice([*extremes, chosen.randrange(every)]) for _ in range(size)]

    stream: dict[str, list[list[int]]] = {"values": [], "meta": [], "weights": [], "last": []}
    for _ in range(count):
        lanes = sorted(chosen.sample(range(m), n))
        meta = naive.write_meta(lanes, n, m, config.metadata)
        if chosen.random() < illegal:
            (meta,) = random_meta(chosen, config, 1)
        stream["values"].append(codes(n, config.dtype))
        stream["meta"].append(meta)
        stream["weights"].append(codes(m, config.weight_format.name))
        stream["last"].append([int(chosen.random() < 0.4)])
    return stream


def pe_results(config: UnitConfig, stream: dict[str, list[list[int]]]) -> list[tuple[int, int]]:
    results, total, failed = [], 0, 0
    for values, meta, weights, (last,) in zip(*stream.values(), strict=True):
        lanes = naive.read_meta(meta, config.n, config.m, config.metadata)
        failed |= int(lanes is None)
        for slot, lane in enumerate(lanes or []):
            value = naive.signed(values[slot], config.format.width)
            total += value * naive.signed(weights[lane], config.weight_format.width)
        # Exact inside a group; limited after each.
        total = naive.limited(total, config.acc_width, config.overflow)
        if last:
            results.append((total, failed))
            total, failed = 0, 0
    return results


def tensors(stream: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(column) for name, column in stream.items()}


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("acc_width", [2, 8, 24, 32, 64])
@pytest.mark.parametrize("dtype", INTEGER_FORMATS)
@pytest.mark.parametrize("metadata", METADATA)
def test_pe(metadata, dtype, acc_width, overflow):
    for (n, m), weight_dtype in (((2, 4), None), ((3, 5), "int4"), ((8, 16), "int16")):
        config = UnitConfig(
            n=n,
            m=m,
            unit="pe",
            dtype=dtype,
            weight_dtype=weight_dtype,
            metadata=metadata,
            acc_width=acc_width,
            overflow=overflow,
        )
        stream = pe_stream(config, 60, illegal=0.15)
        outputs = unit_model(config)(tensors(stream))
        check_shape(config, outputs)
        results = pe_results(config, stream)
        # A 64-bit code is held as the signed number of the same bits.
        modulus = 1 << acc_width if acc_width < 64 else 0
        sums = [[total % modulus if modulus else total] for total, _ in results]
        assert outputs["sum"].tolist() == sums
        assert outputs["error"].tolist() == [[failed] for _, failed in results]


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize("weight_select", ["gather", "dense-skip"])
def test_pe_comes_by_its_weights_otherwise(weight_select, metadata):
    """The same sums; lanes asked for are those that the metadata names, or 0."""
    for n, m in ((2, 4), (3, 5), (8, 16)):
        config = UnitConfig(
            n=n, m=m, unit="pe", dtype="int8", metadata=metadata, weight_select=weight_select
        )
        stream = pe_stream(config, 60, illegal=0.15)
        results = pe_results(config, stream)
        inputs = dict(stream)
        lanes = [naive.read_meta(meta, n, m, metadata) or [0] * n for meta in stream["meta"]]
        if weight_select == "gather":
            inputs["weights"] = [
                [weights[lane] for lane in row]
                for weights, row in zip(stream["weights"], lanes, strict=True)
            ]
        outputs = unit_model(config)(tensors(inputs))
        assert outputs["sum"].tolist() == [[total % (1 << 32)] for total, _ in results]
        assert outputs["error"].tolist() == [[failed] for _, failed in results]
        if weight_select == "gather":
            assert outputs.pop("index").tolist() == lanes
        check_shape(config, outputs)


def test_groups_without_weights_are_in_no_sum():
    """More groups than weights: what has not been answered yet."""
    config = UnitConfig(n=1, m=2, unit="pe", dtype="int4", weight_select="gather")
    outputs = unit_model(config)(
        {
            "values": torch.tensor([[3], [3], [3]]),
            "meta": torch.tensor([[1, 0], [0, 1], [0, 1]]),
            "last": torch.tensor([[0], [1], [1]]),
            "weights": torch.tensor([[2], [5]]),
        }
    )
    assert outputs["index"].tolist() == [[0], [1], [1]]
    assert outputs["sum"].tolist() == [[21]]


def test_errors_stay_in_their_reduction():
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8")
    good, bad = [1, 1, 0, 0], [1, 1, 1, 0]
    outputs = unit_model(config)(
        {
            "values": torch.tensor([[1, 2]] * 5),
            "meta": torch.tensor([good, bad, good, bad, good]),
            "weights": torch.tensor([[10, 20, 30, 40]] * 5),
            "last": torch.tensor([[0], [1], [1], [1], [1]]),
        }
    )
    assert outputs["sum"].tolist() == [[50], [50], [0], [50]]
    assert outputs["error"].tolist() == [[1], [0], [1], [0]]


def test_a_reduction_without_an_end_gives_nothing():
    config = UnitConfig(n=1, m=2, unit="pe", dtype="int4")
    stream = {
        "values": torch.tensor([[3], [3]]),
        "meta": torch.tensor([[1, 0], [0, 1]]),
        "weights": torch.tensor([[2, 5], [2, 5]]),
    }
    outputs = unit_model(config)({**stream, "last": torch.tensor([[1], [0]])})
    assert (outputs["sum"].tolist(), outputs["error"].tolist()) == ([[6]], [[0]])
    outputs = unit_model(config)({**stream, "last": torch.tensor([[0], [0]])})
    assert (outputs["sum"].tolist(), outputs["error"].tolist()) == ([], [])
    check_shape(config, outputs)


@pytest.mark.parametrize("metadata", METADATA)
def test_without_the_check_the_error_is_0(metadata):
    """`--check off` trusts the metadata and drops the check: `o_error` is 0 in hardware."""
    config = UnitConfig(n=2, m=4, unit="pe", dtype="int8", metadata=metadata, check=False)
    stream = pe_stream(config, 60, illegal=0)
    outputs = unit_model(config)(tensors(stream))
    assert outputs["sum"].flatten().tolist() == [
        total % (1 << 32) for total, _ in pe_results(config, stream)
    ]
    stream["meta"] = [[1] * len(meta) for meta in stream["meta"]]
    assert not unit_model(config)(tensors(stream))["error"].any()


@pytest.mark.parametrize(("n", "m"), [(2, 4), (8, 16), (3, 7), (4, 4)])
@pytest.mark.parametrize("scale", ["u8", "pow2", "bf16"])
@pytest.mark.parametrize("dtype", ["bf16", "int8", "fp8_e4m3"])
def test_scaled_sparsifier_with_residual(dtype, scale, n, m):
    rng = random.Random(f"{dtype} {scale} {n}")
    groups = naive.groups(dtype, m, 30, seed=n + m)
    config = UnitConfig(
        n=n, m=m, dtype=dtype, criterion="scaled", scale_format=scale, residual=True
    )
    scales = [[rng.randrange(1 << config.scale.width) for _ in range(m)] for _ in groups]
    outputs = unit_model(config)(
        {
            "data": torch.tensor(groups),
            "scale": torch.tensor(scales),
            "last": torch.zeros(len(groups), 1, dtype=torch.int64),
        }
    )
    check_shape(config, outputs)
    for number, (group, factors) in enumerate(zip(groups, scales, strict=True)):
        ranks = [naive.score(c, s, dtype, scale) for c, s in zip(group, factors, strict=True)]
        lanes = naive.kept(ranks, n)
        assert outputs["meta"][number].tolist() == naive.bitmap(lanes, m)
        assert outputs["values"][number].tolist() == [group[lane] for lane in lanes]
        dropped = [group[lane] for lane in range(m) if lane not in lanes]
        assert outputs["residual"][number].tolist() == (dropped or [0])


@pytest.mark.parametrize("shift", ["static", "lane", "token"])
def test_shift_goes_first(shift):
    """What is scored and packed is the difference."""
    config = UnitConfig(n=1, m=2, dtype="int8", shift=shift, unit="sparsifier")
    data = torch.tensor([[0x05, 0x80]])
    shifts = torch.tensor([[0x7F]] if shift != "lane" else [[0x7F, 0x80]])
    outputs = unit_model(config)({"data": data, "shift": shifts, "last": torch.tensor([[1]])})
    # 5 - 127 = -122; -128 - 127 saturates at -128, -128 - -128 is 0.
    kept = (1, 0x80) if shift != "lane" else (0, 0x100 - 122)
    assert outputs["values"].tolist() == [[kept[1]]]
    assert outputs["meta"].tolist() == [naive.bitmap([kept[0]], 2)]
