"""Floating-point arithmetic as steps of a pipeline: IEEE 754, rounded once, ties to even.

All float formats of `hw.formats`, subnormals included.  What is too large is infinity, or NaN in a
format that has none; every NaN that is made is the canonical one.
"""

from hw.floats.add import add_steps
from hw.floats.integers import integer_to_float_steps
from hw.floats.multiply import multiply_steps

__all__ = ["add_steps", "integer_to_float_steps", "multiply_steps"]
