"""Trains in forks of a process that has imported everything once: one is never interrupted, one again and again.

Usage: kill_server.py WHOLE KILLED KILLS LONGEST_SECONDS ARGUMENTS... trains into the folder WHOLE, then into
KILLED, where the training is killed at random moments; prints how many of the kills met a running training.
"""

import os
import random
import signal
import sys
import time

import torch

from probunet.cli import main
from probunet.commands.listed import load

KILLED = -signal.SIGKILL
TERMINATED = 4
"""Trainings that get SIGTERM before the killing begins."""


def run_fork(arguments: list[str], seconds: float | None = None, number: int = signal.SIGKILL) -> int:
    """Train in a fork; send it a signal after some seconds unless it ends before."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            main(["train", *arguments])
        except SystemExit as stop:
            os._exit(int(stop.code or 0))
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(70)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    whole, killed, kills, longest, *arguments = sys.argv[1:]
    load("train")
    moments = random.Random(0)
    ends = [run_fork([*arguments, "--out", whole])]
    again = [*arguments, "--out", killed]
    ends += [run_fork(again, moments.uniform(0.0, float(longest)), signal.SIGTERM) for _ in range(TERMINATED)]
    ends += [run_fork(again, moments.uniform(0.0, float(longest))) for _ in range(int(kills))]
    ends += [run_fork(again)]
    if set(ends) - {KILLED, 0, -signal.SIGTERM, 128 + signal.SIGTERM}:
        raise SystemExit(f"a training ended in an unexpected way: {ends}")
    print(ends.count(KILLED))
