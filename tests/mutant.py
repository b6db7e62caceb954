"""Modules with a bug, to show that tests find it."""

import types
from pathlib import Path

__all__ = ["mutant"]


def mutant(module: types.ModuleType, old: str, new: str) -> types.ModuleType:
    """The module with a bug: one place of its text replaced."""
    text = Path(module.__file__ or "").read_text()
    assert text.count(old) == 1
    broken = types.ModuleType(module.__name__)
    exec(compile(text.replace(old, new), module.__name__, "exec"), broken.__dict__)
    return broken
