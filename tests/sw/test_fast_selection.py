import doctest
import random
import threading
from itertools import product

import numpy as np
import pytest
import torch

from hw.formats import FORMATS
from sw import fast_selection as module
from sw.codes import TORCH_DTYPES, magnitude_keys, numbers_of
from sw.errors import InputError
from sw.fast_selection import METHODS, auto_method, comparators, keep_mask, nth_greatest
from sw.groups import to_groups
from sw.selection import select
from tests.sw import naive

#: Those whose masks NumPy makes.
FAST = ("network", "sort")

PATTERNS = [*naive.PATTERNS, (1, 1), (1, 64), (64, 64), (17, 33)]

#: Zeros, subnormals, numbers one apart, the largest, infinities and NaNs.
AWKWARD_FP32 = [
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x807FFFFF, 0x00800000, 0x3F800000, 0xBF800001,
    0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 0x7FFFFFFF, 0xFFFFFFFF,
]  # fmt: skip


def expected_mask(keys: list[list[int]], n: int) -> list[list[int]]:
    return [naive.bitmap(naive.kept(group, n), len(group)) for group in keys]


def fp32(codes: list[list[int]]) -> torch.Tensor:
    return torch.tensor(codes, dtype=torch.uint32).view(torch.float32)


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_definition(dtype, method, n, m):
    groups = naive.groups(dtype, m, 12, seed=n * m)
    mask = keep_mask(numbers_of(torch.tensor(groups), dtype), n, m, method)
    assert mask.dtype == torch.bool
    keys = [[naive.key(code, dtype) for code in group] for group in groups]
    assert mask.to(torch.int64).tolist() == expected_mask(keys, n)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("method", METHODS)
def test_definition_of_fp32(method, n, m):
    chosen = random.Random(n * m)
    pools = [AWKWARD_FP32, AWKWARD_FP32[:4], range(1 << 32), [0x3F800000, 0xBF800000]]
    groups = [[chosen.choice(pools[number % 4]) for _ in range(m)] for number in range(24)]
    keys = [[code & 0x7FFFFFFF for code in group] for group in groups]
    mask = keep_mask(fp32(groups), n, m, method)
    assert mask.to(torch.int64).tolist() == expected_mask(keys, n)


@pytest.mark.parametrize(("n", "m"), PATTERNS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("dtype", "lowest", "highest"),
    [(torch.int32, -(2**31), 2**31 - 1), (torch.int64, 0, 2**56 - 1)],
)
def test_definition_of_wide_integers(dtype, lowest, highest, method, n, m):
    chosen = random.Random(n * m)
    pools = [[lowest, highest], range(lowest, highest + 1), [lowest, lowest + 1, 0, 1, highest]]
    groups = [[chosen.choice(pools[number % 3]) for _ in range(m)] for number in range(18)]
    keys = [[abs(number) for number in group] for group in groups]
    mask = keep_mask(torch.tensor(groups, dtype=dtype), n, m, method)
    assert mask.to(torch.int64).tolist() == expected_mask(keys, n)


def test_golden_model_at_every_pattern():
    generator = torch.Generator().manual_seed(1)
    for m in range(1, 65):
        wide = torch.randint(-(2**15), 2**15, (3, m), generator=generator, dtype=torch.int16)
        ties = torch.randint(0, 3, (3, m), generator=generator, dtype=torch.int16)
        x = torch.cat([wide, ties]).view(torch.bfloat16)
        keys = x.view(torch.int16).to(torch.int64) & 0x7FFF
        for n in range(1, m + 1):
            expected = select(keys, n)
            assert torch.equal(keep_mask(x, n, m, "sort"), expected), (n, m)
            if auto_method(1 << 20, m) == "network" or n % 21 == 0:
                assert torch.equal(keep_mask(x, n, m, "network"), expected), (n, m)


@pytest.mark.parametrize("method", FAST)
@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 7), (8, 16), (16, 32)])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_many_groups(dtype, n, m, method, monkeypatch, threads):
    # Blocks of a few groups, the last one shorter.
    monkeypatch.setattr(module, "_BLOCK", 5 * m)
    working = set()
    name = "_by_network" if method == "network" else "_by_sorting"
    original = getattr(module, name)

    def spied(*args, **options):
        working.add(threading.current_thread() is threading.main_thread())
        original(*args, **options)

    monkeypatch.setattr(module, name, spied)
    codes = torch.randint(0, 1 << 16, (503, m), generator=torch.Generator().manual_seed(2))
    codes[::3] &= 0x8003
    expected = select(magnitude_keys(codes, FORMATS[dtype]), n)
    assert torch.equal(keep_mask(numbers_of(codes, dtype), n, m, method), expected)
    assert working == {threads == 1}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "shape", [(8,), (5,), (1, 1), (2, 3, 7), (3, 64), (0,), (2, 0), (0, 5), (0, 8)]
)
def test_shapes(shape, method):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    mask = keep_mask(x, 2, 4, method)
    assert mask.shape == x.shape
    assert mask.is_contiguous()
    keys = to_groups(x.view(torch.int32).to(torch.int64) & 0x7FFFFFFF, 4)
    assert torch.equal(mask, select(keys, 2).flatten(-2)[..., : shape[-1]])


def test_row_is_padded_at_its_end_with_zeros():
    # Padding never beats a lane before it.
    x = torch.tensor([[3.0, 1.0, 2.0, 4.0, 0.0, -0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    assert keep_mask(x, 1, 4).tolist() == [
        [False, False, False, True, True, False],
        [True, False, False, False, False, True],
    ]


@pytest.mark.parametrize("method", METHODS)
def test_memory_in_another_order(method):
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(4))
    expected = keep_mask(x.t().contiguous(), 3, 8, method)
    assert torch.equal(keep_mask(x.t(), 3, 8, method), expected)
    part = x.t()[1:, :13]
    expected = keep_mask(part.contiguous(), 3, 8, method)
    assert torch.equal(keep_mask(part, 3, 8, method), expected)


@pytest.mark.parametrize("method", METHODS)
def test_input_stays_as_it_was(method):
    x = torch.randint(-128, 128, (4, 32), dtype=torch.int8)
    before = x.clone()
    keep_mask(x, 2, 4, method)
    assert torch.equal(x, before)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_and_inference(method):
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(5))
    expected = keep_mask(x, 2, 4, method)
    trained = keep_mask(x.clone().requires_grad_(), 2, 4, method)
    assert not trained.requires_grad
    assert torch.equal(trained, expected)
    with torch.inference_mode():
        assert torch.equal(keep_mask(x + 0, 2, 4, method), expected)


def test_method_that_auto_takes(monkeypatch):
    taken = []
    for method in FAST:
        name = "_by_network" if method == "network" else "_by_sorting"
        original = getattr(module, name)

        def spied(*args, method=method, original=original, **options):
            taken.append(method)
            original(*args, **options)

        monkeypatch.setattr(module, name, spied)
    shapes = [(256, 16), (512, 4), (511, 4), (8192, 16), (10_000, 17), (4096, 64)]
    for groups, m in shapes:
        keep_mask(torch.zeros(groups, m), 1, m)
    assert taken == ["sort", "network", "sort", "network", "sort", "sort"]
    assert taken == [auto_method(groups, m) for groups, m in shapes]


def test_other_devices_take_the_golden_model():
    mask = keep_mask(torch.empty(2000, 32, dtype=torch.bfloat16, device="meta"), 2, 4)
    assert (mask.device.type, mask.shape, mask.dtype) == ("meta", (2000, 32), torch.bool)


@pytest.mark.parametrize("dynamic", [None, True])
def test_inside_a_model_that_is_compiled(dynamic):
    torch.compiler.reset()
    compiled = torch.compile(
        lambda x: keep_mask(x, 2, 4), backend="eager", fullgraph=True, dynamic=dynamic
    )
    for tokens in (3, 5, 1500):
        x = torch.randn(tokens, 10, generator=torch.Generator().manual_seed(tokens)).bfloat16()
        assert torch.equal(compiled(x), keep_mask(x, 2, 4))


@pytest.mark.parametrize("method", FAST)
@pytest.mark.parametrize("mistake", ["upper lane wins", "sign counts", "one bit too few"])
def test_mistakes_are_found(mistake, method, monkeypatch):
    def distinct_keys(codes, lane, is_float):
        assert is_float
        keys = codes.astype(np.int32)
        if mistake != "sign counts":
            keys &= 0x7FFF if mistake != "one bit too few" else 0x7FFE
        return (keys << 6) | (lane if mistake == "upper lane wins" else 63 - lane)

    groups = naive.groups("bf16", 8, 24, seed=6)
    keys = [[naive.key(code, "bf16") for code in group] for group in groups]
    x = numbers_of(torch.tensor(groups), "bf16")
    assert keep_mask(x, 4, 8, method).to(torch.int64).tolist() == expected_mask(keys, 4)
    monkeypatch.setattr(module, "_distinct_keys", distinct_keys)
    assert keep_mask(x, 4, 8, method).to(torch.int64).tolist() != expected_mask(keys, 4)


def test_nth_greatest():
    # By the 0-1 principle zeros and ones are enough to know a network.
    for m in range(1, 11):
        lanes = np.array(list(product([0, 1], repeat=m))).T
        for n in range(1, m + 1):
            got = nth_greatest(list(lanes), n, comparators(n, m), np.maximum, np.minimum)
            assert got.tolist() == np.sort(lanes, axis=0)[m - n].tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bool, torch.uint8, torch.complex64])
def test_another_type(dtype):
    with pytest.raises(TypeError) as caught:
        keep_mask(torch.zeros(4, dtype=dtype), 2, 4)
    assert str(caught.value) == (
        "x must be a tensor of bfloat16, float16, float32, float8_e4m3fn, float8_e5m2, int8, "
        f"int16, int32, int64, not of {str(dtype).removeprefix('torch.')}"
    )


@pytest.mark.parametrize(
    ("n", "m", "message"),
    [
        (0, 4, "n must be between 1 and m = 4, not 0"),
        (5, 4, "n must be between 1 and m = 4, not 5"),
        (1, 0, "m must be between 1 and 64, not 0"),
        (1, 65, "m must be between 1 and 64, not 65"),
    ],
)
def test_pattern_out_of_range(n, m, message):
    with pytest.raises(InputError) as caught:
        keep_mask(torch.zeros(8), n, m)
    assert str(caught.value) == message


def test_other_wrong_arguments():
    with pytest.raises(InputError) as caught:
        keep_mask(torch.tensor(1.0), 2, 4)
    assert str(caught.value) == "x must have shape (..., K), not ()"
    with pytest.raises(InputError) as caught:
        keep_mask(torch.zeros(4), 2, 4, "fastest")
    assert str(caught.value) == (
        "method must be auto or one of network, sort, golden, not 'fastest'"
    )
    with pytest.raises(TypeError) as caught:
        keep_mask(torch.zeros(4), 2.0, 4)
    assert str(caught.value) == "'float' object cannot be interpreted as an integer"


def test_integers_of_other_kinds():
    assert keep_mask(torch.tensor([1, 2, 3, 4]), np.int64(1), np.int8(2)).tolist() == [
        False, True, False, True,
    ]  # fmt: skip


def test_every_format_has_a_type():
    for dtype in TORCH_DTYPES.values():
        assert not keep_mask(torch.zeros(4).to(dtype), 2, 4)[2:].any()


def test_examples():
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0
