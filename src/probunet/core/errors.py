"""The one exception that reaches a user as a sentence instead of a traceback."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one clear sentence that names the file and the value and says what to do. The command line
    prints it without a traceback and exits with code 2; from Python it is an ordinary ``ValueError``.
    """
