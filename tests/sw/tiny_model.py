"""A random Llama with a tokenizer of whole words, made in a fraction of a second."""

from pathlib import Path

import tokenizers
import torch
import transformers

LAYERS = 2
HIDDEN = 32
FEED_FORWARD = 48
WORDS = 64
CONTEXT = 128


def words(count: int) -> str:
    """Text of `count` tokens: token t is the word number (7 t + 3) mod 64."""
    return " ".join(f"w{(7 * t + 3) % WORDS}" for t in range(count))


def save_tokenizer(folder: Path) -> None:
    vocabulary = {f"w{word}": word for word in range(WORDS)} | {
        "[start]": WORDS,
        "[unknown]": WORDS + 1,
    }
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[unknown]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    # As many real tokenizers do, it puts a special token first when not told otherwise.
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[start] $A", special_tokens=[("[start]", WORDS)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="[start]", unk_token="[unknown]"
    ).save_pretrained(folder)


def save_tiny_model(folder: Path) -> None:
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=WORDS + 2,
        hidden_size=HIDDEN,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder)
