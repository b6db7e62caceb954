"""Small samples of captured activations and of weights, for machines without the language model."""

from pathlib import Path

__all__ = ["SAMPLE", "WEIGHTS"]

#: The activations; `sw.activations.read_activations` reads them, README.md beside says what it is.
SAMPLE: Path = Path(__file__).with_name("activations.safetensors")

#: Weights of the same linears; `sw.weight_sample.read_weight_sample` reads them.
WEIGHTS: Path = Path(__file__).with_name("weights.safetensors")
