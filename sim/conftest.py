"""Options, fixtures and the closing summary of the benches."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hw.config import UnitConfig
from sim.captured import Captured, captured_activations, tokens_for
from sim.runner import BenchResult, run_bench
from sim.simulator import SIMULATORS, Simulator, SimulatorMissing, find_simulator

_PROPERTY = "bench"
_SOURCE_PROPERTY = "captured"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `pytest sim/`."""
    group = parser.getgroup("sim")
    group.addoption("--sim", choices=("auto", *SIMULATORS), default="auto", help="simulator")
    group.addoption(
        "--groups",
        type=int,
        default=20_000,
        help="captured groups per main pattern through the sparsifier (default: 20000)",
    )


@pytest.fixture(scope="session")
def simulator(pytestconfig: pytest.Config) -> Simulator:
    """The simulator that `--sim` names."""
    try:
        return find_simulator(pytestconfig.getoption("--sim"))
    except SimulatorMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def captured(pytestconfig: pytest.Config) -> Captured:
    """Activations enough for `--groups` groups of 32 lanes."""
    tokens = tokens_for(pytestconfig.getoption("--groups"))
    return captured_activations(pytestconfig.rootpath / "build" / "captured", tokens)


@pytest.fixture
def bench(
    simulator: Simulator,
    captured: Captured,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> Callable[..., BenchResult]:
    """`run_bench` with simulator, folder and captured activations filled in."""

    def run(config: UnitConfig, **options: object) -> BenchResult:
        result = run_bench(
            config,
            simulator=simulator,
            folder=tmp_path / config.top,
            captured=captured.path,
            **options,  # type: ignore[arg-type]
        )
        record_property(_PROPERTY, [config.unit, result.groups, result.checked, result.mismatched])
        record_property(_SOURCE_PROPERTY, captured.source)
        return result

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What went through the Verilog, unit by unit, and where captured groups came from."""
    totals: dict[str, list[int]] = {}
    sources = set()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name == _PROPERTY:
                unit, *numbers = value
                sums = totals.setdefault(unit, [0, 0, 0])
                totals[unit] = [a + b for a, b in zip(sums, numbers, strict=True)]
            elif name == _SOURCE_PROPERTY:
                sources.add(value)
    if not totals:
        return
    terminalreporter.section("groups through the emitted Verilog")
    for unit, (groups, checked, mismatched) in sorted(totals.items()):
        terminalreporter.line(
            f"{unit:10}  {groups:>9,} groups in  {checked:>9,} results checked  "
            f"{mismatched} mismatches"
        )
    for source in sorted(sources):
        terminalreporter.line(f"captured activations: {source}")
