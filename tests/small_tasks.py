"""Tasks for other processes, which import them by this name."""

import os
import time
from functools import partial
from pathlib import Path

from probunet.core.errors import InputError
from probunet.core.processes import Task, run_in_processes


def write(file, tell):
    tell(0.5, "half way")
    Path(file).write_text(str(os.getpid()))


def write_origin(file, tell):
    Path(file).write_text(f"{os.getppid()}")


def refuse(tell):
    raise InputError("value 7 is too large; give at most 6")


def crash(tell):
    os._exit(9)


def endless(file, tell):
    write(file, tell)
    while True:
        time.sleep(0.05)


def wait_for_the_endless(file):
    run_in_processes("waiting", [Task("endless", partial(endless, file))])
