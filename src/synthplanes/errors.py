"""Define the exception for faults that a user can correct."""


class UserError(Exception):
    """A fault of the input or the environment, not of this code.

    Its message is one sentence: what, where, what to do. Commands print it without a traceback and exit with status 1;
    every other exception is a bug and keeps its traceback.
    """
