"""The exceptions of ours that reach a user: a sentence instead of a traceback, never the end of a process."""

from __future__ import annotations

import signal


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one clear sentence that names the file and the value and says what to do. The command line
    prints it without a traceback and exits with code 2; from Python it is an ordinary ``ValueError``.
    """


class Stopped(Exception):
    """A signal came and the work ended early, after its state was saved; the same call goes on from there.

    The command line exits as that signal ends a process. From Python it is an ordinary exception: what the signal
    means for the program that called is for that program to say. Ctrl-C is a ``KeyboardInterrupt``, as everywhere.

    Args:
        message: one sentence.
        received: the signal.
    """

    def __init__(self, message: str, received: signal.Signals) -> None:
        super().__init__(message, received)
        self.message, self.received = message, received

    @property
    def exit_code(self) -> int:
        """With which a process ends that this signal ends."""
        return 128 + self.received

    def __str__(self) -> str:
        return self.message


def first_line(error: Exception) -> str:
    """What an error of somebody else says, in one line; its type where it says nothing."""
    return (str(error) or repr(error)).strip().splitlines()[0]
