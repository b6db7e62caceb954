"""Golden models of N:M activation sparsity in PyTorch, and the capture of real activations."""
