"""The one class of errors that a user's input causes in `sw`."""

__all__ = ["InputError"]


class InputError(ValueError):
    """An argument, a file or a model breaks a rule.

    The text is one line: subject, rule, value.  Command lines show it as it is, with exit status 2.
    """
