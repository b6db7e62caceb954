import random
from types import ModuleType

import pytest
import torch

import sw.scale_memory
from hw.config import UnitConfig
from hw.ports import output_payload
from sw.golden import unit_model
from sw.scale_memory import replay_tables
from tests.mutant import mutant


def replayed(words: list[tuple[list[int], int, int]], depth: int) -> list[tuple[list[int], int]]:
    """The definition, word by word: scale and ``last`` of what comes out."""
    result, table = [], []
    for scale, last, tokens in words:
        table.append(scale)
        if last or len(table) == depth:
            flags = [0] * (len(table) - 1) + [1]
            result += list(zip(table, flags, strict=True)) * tokens
            table = []
    return result


def columns(words: list[tuple[list[int], int, int]], m: int) -> list[torch.Tensor]:
    scale, last, tokens = zip(*words, strict=True) if words else ((), (), ())
    return [
        torch.tensor(scale, dtype=torch.int64).reshape(-1, m),
        *(torch.tensor(column, dtype=torch.int64).reshape(-1, 1) for column in (last, tokens)),
    ]


def random_words(count: int, m: int, rng: random.Random) -> list[tuple[list[int], int, int]]:
    """Tables of all lengths; numbers of tokens also where none are looked at."""
    share = rng.random()
    return [
        ([rng.randrange(256) for _ in range(m)], int(rng.random() < share), rng.randrange(4))
        for _ in range(count)
    ]


def check(module: ModuleType, depth: int) -> None:
    """Random words against the definition."""
    rng = random.Random(depth)
    for count in [0, 1, 2, 3, *(rng.randrange(4, 90) for _ in range(40))]:
        words = random_words(count, 3, rng)
        scale, last = module.replay_tables(*columns(words, 3), depth)
        assert (scale.dtype, last.dtype) == (torch.int64, torch.int64)
        expected = replayed(words, depth)
        assert (scale.shape, last.shape) == ((len(expected), 3), (len(expected), 1))
        assert scale.tolist() == [row for row, _ in expected]
        assert last.flatten().tolist() == [flag for _, flag in expected]


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 40, 65536])
def test_definition(depth):
    check(sw.scale_memory, depth)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("is_marked.roll(1)", "is_marked"),
        ("since % depth == depth - 1", "since == depth - 1"),
        ("places - torch.where(is_marked.roll(1), places, 0).cummax(0).values", "places"),
        ("(is_marked | (since % depth == depth - 1))", "is_marked"),
        ("ends.new_zeros(1), ends + 1", "ends.new_zeros(1), ends"),
        ("lengths * tokens.flatten()[ends]", "lengths * tokens.flatten()[starts]"),
        ("place + 1 == lengths[table]", "place == 0"),
    ],
)
def test_seeded_bug(old, new):
    with pytest.raises(AssertionError):
        check(mutant(sw.scale_memory, old, new), 5)


def test_worked_example():
    """Two words for two tokens; one for none; three, of which a depth of two makes two and one."""
    config = UnitConfig(n=1, m=2, unit="scale_memory", depth=2)
    outputs = unit_model(config)(
        {
            "scale": torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12], [13, 14]]),
            "last": torch.tensor([[0], [1], [1], [0], [0], [1], [0]]),
            "tokens": torch.tensor([[9], [2], [0], [9], [1], [2], [9]]),
        }
    )
    assert outputs.keys() == output_payload(config).keys()
    assert outputs["scale"].tolist() == [
        *([1, 2], [3, 4], [1, 2], [3, 4]),
        *([7, 8], [9, 10]),
        *([11, 12], [11, 12]),
    ]
    assert outputs["last"].flatten().tolist() == [0, 1, 0, 1, 0, 1, 1, 1]


def test_without_a_table_nothing_comes():
    for words in ([], [([1], 0, 5)], [([1], 1, 0)], [([1], 0, 5), ([2], 1, 0), ([3], 0, 1)]):
        scale, last = replay_tables(*columns(words, 1), 3)
        assert (scale.shape, last.shape) == ((0, 1), (0, 1))
