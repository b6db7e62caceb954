import re
import subprocess
import sys
from functools import partial

import pytest
import torch

from sw import benchmark_selection as module
from sw.benchmark_selection import main, measure
from sw.fast_selection import keep_mask

PROGRAM = "python -m sw.benchmark_selection"


def rows(output: str) -> list[list[str]]:
    """Way, ms, ratio, groups that differ, of each line of the tables."""
    cells = (re.split(r" {2,}", line) for line in output.splitlines())
    return [row for row in cells if len(row) == 4 and row[-1].replace(",", "").isdigit()]


def test_ratio_is_the_median_of_rounds(monkeypatch):
    # Seconds that each call takes, as the clock shows them.
    clock = iter([9.0] * 2 + [8.0, 2.0, 6.0, 3.0, 4.0, 1.0])
    monkeypatch.setattr(module, "_seconds", lambda *_: next(clock))
    fast = partial(keep_mask, n=2, m=4)
    ticks = []
    baseline, way = measure(
        torch.ones(2, 8), 2, 4, {"a": fast, "b": fast}, 3, lambda: ticks.append(None)
    )
    assert (baseline.way, baseline.seconds, baseline.ratio) == ("a", 6.0, 1.0)
    # Of 4, 2 and 4, where the ratio of the medians is 3.
    assert (way.way, way.seconds, way.ratio) == ("b", 2.0, 4.0)
    assert len(ticks) == 3


def test_short_calls_are_repeated(monkeypatch):
    asked = []

    def seconds(*arguments):
        asked.append(arguments[2:])
        return 0.0005

    monkeypatch.setattr(module, "_seconds", seconds)
    measure(torch.ones(1, 4), 2, 4, {"a": partial(keep_mask, n=2, m=4)}, 2)
    assert asked == [(), (4,), (4,)]


def test_wrong_masks_are_counted():
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]])

    def upper_lane_wins(x):
        return keep_mask(x.flip(-1), 2, 4).flip(-1)

    ways = {"right": partial(keep_mask, n=2, m=4), "wrong": upper_lane_wins}
    assert [timing.wrong for timing in measure(x, 2, 4, ways, 1)] == [0, 1]


def test_table(capsys):
    before = torch.get_num_threads()
    assert main(["--shapes", "4x64,1x32", "--patterns", "2:4,4:8", "--rounds", "1"]) == 0
    assert torch.get_num_threads() == before
    output = capsys.readouterr().out
    titles = [line for line in output.splitlines() if re.fullmatch(r".*threads?", line)]
    assert titles == [
        f"{shape}, {pattern}, {threads}"
        for shape in ("4 x 64", "1 x 32")
        for pattern in ("2:4", "4:8")
        for threads in ("1 thread", "2 threads")
    ]
    table = rows(output)
    assert [row[0] for row in table] == ["topk + scatter_", "network", "sort (auto)", "golden"] * 8
    for way, ms, ratio, wrong in table:
        assert float(ms) > 0
        assert float(ratio) > 0
        if way == "topk + scatter_":
            assert ratio == "1.00"
        else:
            assert wrong == "0"


@pytest.mark.parametrize("possible", [True, False])
def test_all_ways(possible, capsys, monkeypatch):
    def compiled_network(n, m):
        def compiled(x):
            if not possible:
                raise RuntimeError("No working C++ compiler found\nin torch")
            return keep_mask(x, n, m)

        return compiled

    monkeypatch.setattr(module, "compiled_network", compiled_network)
    main(["--shapes", "4x64", "--rounds", "1", "--threads", "1", "--all", "--dtype", "fp32"])
    output = capsys.readouterr().out
    assert output.startswith("fp32, normally distributed, rounds: 1\n")
    names = [row[0] for row in rows(output)]
    expected = [
        "topk + scatter_", "network", "sort (auto)", "golden",
        "counting", "network in PyTorch", "counted ties", "bisection",
    ]  # fmt: skip
    last = output.splitlines()[-1]
    if possible:
        assert names == [*expected, "network, compiled"]
        assert re.fullmatch(r"compiled in \d+\.\d s", last)
    else:
        assert names == expected
        assert last == (
            "torch.compile is not possible here: No working C++ compiler found in torch"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--patterns", "5:4"],
            "argument --patterns: must be patterns n:m with 2 <= m <= 64 and 1 <= n <= m, not 5:4",
        ),
        (
            ["--shapes", "4x100"],
            "argument --shapes: must have a multiple of 16 features for 8:16, not 100",
        ),
        (
            ["--shapes", "4"],
            "argument --shapes: must be a list of shapes TOKENSxFEATURES such as 2048x4096,1x4096, "
            "not '4'",
        ),
        (
            ["--threads", "0"],
            "argument --threads: must be a list of positive numbers such as 1,2, not '0'",
        ),
        (["--rounds", "0"], "argument --rounds: must be a positive number, not '0'"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"{PROGRAM}: error: {message}\n"


def test_as_a_command():
    command = [sys.executable, "-m", "sw.benchmark_selection", "--shapes", "1x16", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(rows(done.stdout)) == 8
