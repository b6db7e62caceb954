"""Runs yosys commands, in a process of its own: `python yosys.py FILE`.

FILE holds a JSON list of commands, each a list of words, so that no file name needs quoting.
yosys ends the process when a command fails, and its C++ log goes to the process's own output,
both of which only a separate process keeps from its caller.
"""

import json
import sys
from pathlib import Path


def main(script: Path) -> None:
    """Run the commands of a script."""
    from pyosys import libyosys

    design = libyosys.Design()
    for command in json.loads(script.read_text(encoding="utf-8")):
        libyosys.Pass.call(design, command)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
