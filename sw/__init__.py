"""Golden models of N:M activation sparsity in PyTorch, and its methods on real language models."""

from typing import TYPE_CHECKING, Any

__all__ = ["sparsify"]

if TYPE_CHECKING:
    from sw.sparse_model import sparsify
else:

    def __getattr__(name: str) -> Any:
        # Importing a module of `sw` must not import all of PyTorch and the methods on the way.
        if name == "sparsify":
            from sw.sparse_model import sparsify

            return sparsify
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
