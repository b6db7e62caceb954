from pathlib import Path

import pytest
import torch

from sw.errors import InputError
from sw.parts import Parts

IDENTITY = {"model": "tiny", "seed": "0"}


def constants(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"layers.0.up": {"shift.s-pts": torch.tensor(value)}}


def hidden(value: float) -> list[torch.Tensor]:
    return [torch.full((1, 2, 3), value + number) for number in range(12)]


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "x.parts"
    parts = Parts(folder, IDENTITY)
    assert parts.resume("statistics") == (0, [])
    assert not folder.exists()
    parts.write("statistics", 0, constants(1.0), hidden(0.5))
    parts.write("statistics", 1, constants(2.0), hidden(0.25))
    parts.write("training-0", 0, constants(3.0), hidden(0.75))
    again = Parts(folder, dict(reversed(IDENTITY.items())))
    for stage, layers, value in (("statistics", 2, 0.25), ("training-0", 1, 0.75)):
        done, states = again.resume(stage)
        assert done == layers
        assert all(torch.equal(a, b) for a, b in zip(states, hidden(value), strict=True))
    assert again.resume("training-1") == (0, [])
    for stage, layer, value in (("statistics", 0, 1), ("statistics", 1, 2), ("training-0", 0, 3)):
        assert float(again.read(stage, layer)["layers.0.up"]["shift.s-pts"]) == value
    again.remove()
    assert list(tmp_path.iterdir()) == []
    again.remove()


def test_another_run(tmp_path: Path) -> None:
    folder = tmp_path / "x.parts"
    Parts(folder, IDENTITY).write("statistics", 0, constants(1.0), [])
    with pytest.raises(InputError) as caught:
        Parts(folder, IDENTITY | {"seed": "1"})
    message = "output must be free of the parts of another run, not beside {folder!r} (remove it)"
    assert str(caught.value) == message.format(folder=str(folder))
    # A folder of somebody else's is no place either.
    other = tmp_path / "y.parts"
    other.mkdir()
    with pytest.raises(InputError) as caught:
        Parts(other, IDENTITY)
    assert str(caught.value) == message.format(folder=str(other))


def test_without_a_folder() -> None:
    parts = Parts(None, IDENTITY)
    parts.write("statistics", 0, constants(1.0), hidden(0.0))
    assert parts.resume("statistics") == (0, [])
    parts.remove()
