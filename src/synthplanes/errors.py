"""The one exception that users see: a sentence that says what is wrong, where, and what to do."""


class UserError(Exception):
    """A fault of the input or the surroundings, not of this code.

    Its message is one sentence: what, where, what to do. Commands print it without a traceback and
    exit with status 1; every other exception is a bug of ours and keeps its traceback.
    """
