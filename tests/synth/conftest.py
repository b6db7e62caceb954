import shutil
from pathlib import Path

import pytest

from synth.liberty import GENERIC, read_liberty
from tests.synth.delays import TEMPTING, with_delays

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
