"""Shapes of the matrices of language models: those of one decoder layer, and of the head."""

from dataclasses import dataclass

__all__ = ["LINEARS", "MODELS", "Linear", "ModelShape"]

#: The linears of a decoder layer, in the order in which they are computed, and the model's head.
LINEARS = ("q", "k", "v", "o", "gate", "up", "down", "lm_head")


@dataclass(frozen=True)
class Linear:
    """``y = x W^T`` for each token: a matrix of weights.

    Parameters
    ----------
    name
        One of `LINEARS`.
    inputs
        Input features, the reduction dimension.
    outputs
        Output features.
    """

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What the shapes of a model's linears follow from: the fields of its `config.json`.

    Parameters
    ----------
    hidden
        `hidden_size`: features of a token between the layers.
    intermediate
        `intermediate_size`: features inside of the feed-forward network.
    heads, kv_heads
        `num_attention_heads`, `num_key_value_heads`.
    head_dim
        Features of a head; ``hidden / heads`` where the configuration does not say.
    layers
        `num_hidden_layers`.
    vocabulary
        `vocab_size`.
    source
        Whose configuration it is.
    """

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    layers: int
    vocabulary: int
    source: str

    @property
    def linears(self) -> tuple[Linear, ...]:
        """All of `LINEARS`, in that order."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {
            "q": (self.hidden, queries),
            "k": (self.hidden, keys),
            "v": (self.hidden, keys),
            "o": (queries, self.hidden),
            "gate": (self.hidden, self.intermediate),
            "up": (self.hidden, self.intermediate),
            "down": (self.intermediate, self.hidden),
            "lm_head": (self.hidden, self.vocabulary),
        }
        return tuple(Linear(name, *shapes[name]) for name in LINEARS)


#: Checked against the number of parameters that is published of each model, to the last one
#: (sim/test_model_shapes.py).
MODELS: dict[str, ModelShape] = {
    "SmolLM2-135M": ModelShape(
        hidden=576, intermediate=1536, heads=9, kv_heads=3, head_dim=64, layers=30,
        vocabulary=49_152, source="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "Llama-2-7B": ModelShape(
        hidden=4096, intermediate=11_008, heads=32, kv_heads=32, head_dim=128, layers=32,
        vocabulary=32_000, source="meta-llama/Llama-2-7b-chat-hf",
    ),
    "Llama-3.1-8B": ModelShape(
        hidden=4096, intermediate=14_336, heads=32, kv_heads=8, head_dim=128, layers=32,
        vocabulary=128_256, source="meta-llama/Llama-3.1-8B-Instruct",
    ),
    "Qwen2.5-7B": ModelShape(
        hidden=3584, intermediate=18_944, heads=28, kv_heads=4, head_dim=128, layers=28,
        vocabulary=152_064, source="Qwen/Qwen2.5-7B-Instruct",
    ),
    "Gemma-3-4B": ModelShape(
        hidden=2560, intermediate=10_240, heads=8, kv_heads=4, head_dim=256, layers=34,
        vocabulary=262_208, source="google/gemma-3-4b-it, its text_config",
    ),
}  # fmt: skip
