"""Runs the benches on emitted Verilog, in any of the simulators."""

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cocotb_tools.runner import get_results, get_runner

from hw.config import UnitConfig
from hw.emit import emit
from hw.files import write_files
from hw.progress import repeating
from sim.bench.plan import GOLDEN, PLAN, Plan, Transfers
from sim.golden_server import golden_server
from sim.simulator import Simulator

__all__ = ["BenchError", "BenchResult", "run_bench", "run_module", "run_tests"]

_MODULE = "sim.bench.stream_tests"

#: Icarus warns of nothing in what we emit; Verilator's warnings of widths are not about errors.
_BUILD_ARGUMENTS = {
    "icarus": ["-g2005", "-Wall"],
    "verilator": ["-Wno-WIDTH", "-O3", "--x-assign", "fast"],
}


class BenchError(AssertionError):
    """A bench failed or did not run."""


@dataclass(frozen=True)
class BenchResult:
    """Numbers of one simulation.

    Parameters
    ----------
    groups
        Transfers that went in.
    checked
        Output transfers compared with the golden model.
    mismatched
        Those that differed.
    cycles
        Clock cycles simulated.
    spans
        Cycles from the first transfer into the unit to the last one out of it, both included, by
        the name of the test.
    outputs
        Where payloads were given: what came out, by the name of the test and the stream.
    """

    groups: int
    checked: int
    mismatched: int
    cycles: int
    spans: dict[str, int]
    outputs: dict[str, Transfers] = field(default_factory=dict, repr=False)


def run_bench(
    config: UnitConfig,
    *,
    simulator: Simulator,
    folder: Path,
    counts: dict[str, int] | None = None,
    stalled_counts: dict[str, int] | None = None,
    seed: int = 1,
    captured: Path | None = None,
    given: Transfers | None = None,
    tests: str | None = None,
    verilog: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> BenchResult:
    """Emit a unit, build it and hold it against its golden model.

    Parameters
    ----------
    config
        The unit.
    simulator
        From `sim.simulator.find_simulator`.
    folder
        Working folder; made anew.
    counts, stalled_counts
        Transfers of each kind of stimulus (`sim.stimuli.KINDS`), without and with stalls.
    seed
        Of everything random.
    captured
        File of activations for the kind ``captured``.
    given
        Payloads by stream to be sent in place of stimuli: integers in the order of the ports.
    tests
        Pattern of the names of the tests to run; None: all.
    verilog
        Verilog to be tested in place of what the generator emits.
    progress
        Called twice a second with the transfers that the running test has sent, from another
        thread.

    Returns
    -------
    BenchResult
        Sums over all tests that ran.

    Raises
    ------
    BenchError
        A test failed, or none ran; the text has the end of the simulator's log.
    """
    shutil.rmtree(folder, ignore_errors=True)
    source, report = folder / f"{config.top}.v", folder / "report.json"
    write_files({source: emit(config).verilog if verilog is None else verilog})
    if given is not None:
        write_files({folder / "given.json": json.dumps(given)})
    plan = Plan(
        unit=asdict(config),
        counts=counts or {},
        stalled_counts=stalled_counts or {},
        seed=seed,
        captured=str(captured.resolve()) if captured else None,
        given=str((folder / "given.json").resolve()) if given is not None else None,
        report=str(report.resolve()),
        progress=str((folder / "progress").resolve()),
    )
    with _watch(folder / "progress", progress), golden_server(plan) as address:
        run_tests(
            source,
            config.top,
            _MODULE,
            simulator=simulator,
            folder=folder,
            seed=seed,
            environment={PLAN: plan.to_json(), GOLDEN: address},
            tests=tests,
        )
    numbers = json.loads(report.read_text())

    def total(key: str) -> int:
        return sum(test[key] for test in numbers.values())

    return BenchResult(
        groups=total("groups"),
        checked=total("checked"),
        mismatched=total("mismatched"),
        cycles=total("cycles"),
        spans={name: test["span"] for name, test in numbers.items()},
        outputs={
            name: {
                prefix: [tuple(word) for word in words] for prefix, words in test["outputs"].items()
            }
            for name, test in numbers.items()
            if test["outputs"] is not None
        },
    )


def run_module(
    config: UnitConfig,
    module: str,
    *,
    simulator: Simulator,
    folder: Path,
    seed: int = 1,
    counts: dict[str, int] | None = None,
    verilog: str | None = None,
    model: UnitConfig | None = None,
) -> None:
    """Emit a unit and run the cocotb tests of a module on it, which get a `Plan`.

    Parameters
    ----------
    config
        The unit.
    module
        Python module with the tests.
    simulator, folder, seed, counts, verilog
        As of `run_bench`.
    model
        The unit of which they get stimuli and expected outputs; None: that unit.

    Raises
    ------
    BenchError
        A test failed, or none ran; the text has the end of the simulator's log.
    """
    source = folder / f"{config.top}.v"
    write_files({source: emit(config).verilog if verilog is None else verilog})
    plan = Plan(
        unit=asdict(config),
        counts=counts or {},
        stalled_counts={},
        seed=seed,
        captured=None,
        given=None,
        report=str((folder / "report.json").resolve()),
        progress=str((folder / "progress").resolve()),
    )
    asked = plan if model is None else replace(plan, unit=asdict(model))
    with golden_server(asked) as address:
        run_tests(
            source,
            config.top,
            module,
            simulator=simulator,
            folder=folder,
            seed=seed,
            environment={PLAN: plan.to_json(), GOLDEN: address},
        )


def run_tests(
    source: Path,
    top: str,
    module: str,
    *,
    simulator: Simulator,
    folder: Path,
    seed: int,
    environment: Mapping[str, str],
    tests: str | None = None,
) -> None:
    """Build Verilog and run the cocotb tests of a module on it.

    Parameters
    ----------
    source
        File with the Verilog.
    top
        Name of its top module.
    module
        Python module with the tests.
    simulator
        From `sim.simulator.find_simulator`.
    folder
        Working folder.
    seed
        Of everything random.
    environment
        What the tests find in their environment.
    tests
        Pattern of the names of the tests to run; None: all.

    Raises
    ------
    BenchError
        A test failed, or none ran; the text has the end of the simulator's log.
    """
    log = folder / "test.log"
    runner = get_runner(simulator.name)
    with simulator.environment():
        try:
            runner.build(
                sources=[source],
                hdl_toplevel=top,
                build_dir=folder / "build",
                build_args=_BUILD_ARGUMENTS[simulator.name],
                timescale=("1ns", "1ps"),
                always=True,
                log_file=folder / "build.log",
            )
            results = runner.test(
                test_module=module,
                hdl_toplevel=top,
                build_dir=folder / "build",
                test_dir=folder,
                results_xml=str((folder / "results.xml").resolve()),
                seed=seed,
                extra_env={
                    **environment,
                    # Rewriting the assertions of every module that is imported, torch's too,
                    # takes five seconds a simulation; the benches' own have their messages.
                    "COCOTB_REWRITE_ASSERTION_FILES": "",
                },
                test_filter=tests,
                log_file=log,
            )
            ran, failed = get_results(results)
        except (SystemExit, RuntimeError) as error:
            raise BenchError(f"{top} on {simulator.name}: {error}\n{_tail(folder)}") from error
    if not ran or failed:
        raise BenchError(
            f"{top} on {simulator.name}: {failed} of {ran} tests failed, seed {seed}\n"
            f"{_tail(folder)}"
        )


def _watch(
    path: Path, progress: Callable[[int], object] | None
) -> contextlib.AbstractContextManager[None]:
    """Pass on what the simulation writes about its progress."""
    if progress is None:
        return contextlib.nullcontext()

    def poll() -> None:
        with contextlib.suppress(OSError, ValueError):
            progress(int(path.read_text()))

    return repeating(0.5, poll)


def _tail(folder: Path) -> str:
    """The end of the newest log."""
    logs = [path for path in (folder / "test.log", folder / "build.log") if path.exists()]
    return "\n".join(logs[0].read_text().splitlines()[-60:]) if logs else "no log was written"
