import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

import synth.results
import synth.selectors
import synth.study
from synth.liberty import GENERIC, read_liberty
from synth.report import main
from tests.synth.delays import TEMPTING, with_delays
from tests.synth.tiny_study import TINY, Tools

#: The library of a real process lies beside the checkout where it is there at all.
SKY130 = Path(__file__).parents[3] / "shared/pdk/sky130_fd_sc_hd__tt_025C_1v80.lib.gz"


@pytest.fixture(scope="session")
def generic():
    return read_liberty(GENERIC)


@pytest.fixture(scope="session")
def delays(tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "delays.lib"
    path.write_text(with_delays())
    return read_liberty(path)


@pytest.fixture(scope="session")
def tempting(tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "tempting.lib"
    path.write_text(with_delays(more_cells=TEMPTING))
    return read_liberty(path)


@pytest.fixture(scope="session")
def sky130():
    if not SKY130.is_file():
        pytest.skip("the sky130 library is not beside the checkout")
    return read_liberty(SKY130)


@pytest.fixture
def sta():
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA is not installed")


@pytest.fixture
def out(tmp_path):
    """A folder that is not there, like the one that it is in."""
    return tmp_path / "made" / "out"


@pytest.fixture
def use_tools(monkeypatch):
    """Put made-up tools in the place of generator, synthesis and timing."""

    def use(tools):
        monkeypatch.setattr(synth.results, "verilog_of", tools.verilog)
        monkeypatch.setattr(synth.results, "area", tools.area)
        monkeypatch.setattr(synth.results, "_generator", lambda: tools.generator)
        for module in (synth.results, synth.study):
            monkeypatch.setattr(module, "method", lambda: tools.sta)
        return tools

    return use


@pytest.fixture
def tools(use_tools):
    """Those of the tiny study."""
    return use_tools(Tools())


@pytest.fixture
def committed(monkeypatch, tmp_path):
    """The committed files, elsewhere."""
    folder = tmp_path / "committed"
    monkeypatch.setattr(synth.study, "BASELINES", folder)
    monkeypatch.setattr(synth.selectors, "TABLE", folder / "measured.json")
    return folder


@pytest.fixture
def run_study(capsys, out, delays):
    """Run a study with the library of delays, into `out`; the lines that it prints."""

    def run(*words, status=0):
        options = ["--liberty", delays.path, "--jobs", 1, "-o", out]
        with pytest.raises(SystemExit) if status else nullcontext() as caught:
            main([str(word) for word in (words[0], *options, *words[1:])])
        if status:
            assert caught.value.code == status
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def run(run_study):
    """Run the tiny study with more arguments."""
    return partial(run_study, "selectors", *TINY.split())
