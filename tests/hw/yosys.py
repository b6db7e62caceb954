"""Runs yosys in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import synth.yosys

__all__ = ["run_yosys"]


def run_yosys(folder: Path, commands: Sequence[Sequence[str]]) -> str:
    """The log of some commands, which must succeed; `folder` takes the script."""
    script = folder / "script.json"
    script.write_text(json.dumps(commands), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, synth.yosys.__file__, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    log = run.stdout + run.stderr
    assert run.returncode == 0, log[-4000:]
    return log
