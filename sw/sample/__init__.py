"""A small sample of captured activations, for machines without the language model."""
