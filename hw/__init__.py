"""Amaranth gateware of N:M activation sparsity, and its generator `python -m hw.generate`."""
