"""A small sample of captured activations, for machines without the language model."""

from pathlib import Path

__all__ = ["SAMPLE"]

#: The file; `sw.activations.read_activations` reads it, README.md beside it says what it is.
SAMPLE: Path = Path(__file__).with_name("activations.safetensors")
