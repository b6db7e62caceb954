"""Parts of a long run: what is done, layer by layer, so that it goes on where it was stopped."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from hw.files import write_files
from sw.constants import Constants, read_constants
from sw.errors import InputError
from sw.tensor_file import read_tensors, tensor_file_bytes

__all__ = ["Parts"]


class Parts:
    """Constants of the layers that are done, and the hidden states with which the next one begins.

    A run has *stages*, each a walk through all layers.

    Parameters
    ----------
    folder
        Where the parts lie; made when there is something to keep.  None: nothing is kept.
    identity
        What decides the result.  Parts of another run are not taken up.

    Raises
    ------
    InputError
        The folder holds parts of another run, or is something else.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, str]) -> None:
        self._folder = folder
        self._identity = json.dumps(dict(identity), indent=1, sort_keys=True) + "\n"
        if folder is None or not folder.exists():
            return
        try:
            found = self._name("run.json").read_text(encoding="utf-8")
        except OSError:
            found = ""
        if found != self._identity:
            raise InputError(
                f"output must be free of the parts of another run, not beside {str(folder)!r}"
                " (remove it)"
            )

    def _name(self, name: str) -> Path:
        return (self._folder or Path()) / name

    def resume(self, stage: str) -> tuple[int, list[torch.Tensor]]:
        """How many layers of a stage are done, and the hidden states after them.

        Nothing done is 0 and an empty list.
        """
        path = self._name(f"{stage}-hidden.safetensors")
        if self._folder is None or not path.exists():
            return 0, []
        tensors, metadata = read_tensors(path, f"part {str(path)!r}")
        return int(metadata["layers"]), [tensors[f"{number:06}"] for number in range(len(tensors))]

    def read(self, stage: str, layer: int) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """Linear -> name -> constant of a layer that is done."""
        return read_constants(self._name(f"{stage}-{layer:04}.safetensors")).tensors

    def write(
        self,
        stage: str,
        layer: int,
        constants: Mapping[str, Mapping[str, torch.Tensor]],
        hidden: Sequence[torch.Tensor],
    ) -> None:
        """Keep the constants of a layer, and the hidden states after it.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        if self._folder is None:
            return
        states = {f"{number:06}": state for number, state in enumerate(hidden)}
        # The hidden states come last: they say which layers are done.
        write_files(
            {
                self._name("run.json"): self._identity,
                self._name(f"{stage}-{layer:04}.safetensors"): Constants(constants, {}).to_bytes(),
                self._name(f"{stage}-hidden.safetensors"): tensor_file_bytes(
                    states, {"layers": str(layer + 1)}
                ),
            }
        )

    def remove(self) -> None:
        """The run is complete."""
        if self._folder is not None and self._folder.exists():
            shutil.rmtree(self._folder)
