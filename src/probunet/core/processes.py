"""Several long tasks side by side, each in a process of its own, under one progress display.

The processes begin as copies of one that has loaded what the tasks need; where the system knows no such thing, each
loads it anew, which takes seconds. A task's process is told to stop by SIGTERM alone: Ctrl-C reaches only this
process, which passes it on, and a task whose parent was killed stops by itself.
"""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from rich.progress import Progress, TaskID

from probunet.core.console import console, state_bar
from probunet.core.errors import InputError, Stopped
from probunet.core.machine import cores as core_count

Tell = Callable[[float, str], None]
"""Told the share that is done, 0 to 1, and a few words on the state."""


@dataclass(frozen=True)
class Task:
    """Something long to do.

    Attributes:
        name: shown beside its bar.
        run: does it; picklable, called with a :data:`Tell`.
    """

    name: str
    run: Callable[[Tell], Any]


@dataclass
class _Active:
    task: Task
    process: BaseProcess
    channel: Connection
    bar: TaskID
    slot: int


def run_in_processes(title: str, tasks: Sequence[Task], workers: int | None = None) -> None:
    """Run all tasks, at most ``workers`` at a time.

    Args:
        title: of the bar over all tasks.
        tasks: in the order in which they start.
        workers: processes side by side; if not given, one per GPU, or one per processor core where there is no
            GPU. Processor cores are divided evenly between them.

    Raises:
        InputError: a task failed by the user's mistake; the others were stopped as Ctrl-C stops them.
        RuntimeError: a task failed otherwise.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} is no number of processes; give 1 or more")
    if not tasks:
        return
    import torch  # not where a process begins: it takes seconds, and not every task needs it

    gpus, cores = torch.cuda.device_count(), core_count()
    workers = min(workers or gpus or cores, len(tasks))
    threads = max(cores // workers, 1)
    waiting, slots = list(tasks), list(range(workers))
    active: dict[Connection, _Active] = {}
    context = _context(tasks)
    with state_bar() as display:
        whole = display.add_task(title, total=len(tasks), state=f"0 of {len(tasks)}")
        try:
            while waiting or active:
                while waiting and slots:
                    job = _start(context, waiting.pop(0), slots.pop(0), threads, gpus, display)
                    active[job.channel] = job
                for channel in wait(list(active), timeout=1.0):
                    job = active[channel]  # type: ignore[index]
                    if not _listen(job, display):
                        _finish(job, display)
                        del active[job.channel]
                        slots.append(job.slot)
                        display.remove_task(job.bar)
                shares = sum(display.tasks[display.task_ids.index(job.bar)].completed for job in active.values())
                ended = len(tasks) - len(waiting) - len(active)
                display.update(whole, completed=ended + shares, state=f"{ended} of {len(tasks)}")
        finally:
            for job in active.values():
                job.process.terminate()
            for job in active.values():
                job.process.join()


def _context(tasks: Sequence[Task]) -> BaseContext:
    """How processes begin. What they all load is that of the first tasks of this program."""
    if "forkserver" not in mp.get_all_start_methods():  # Windows
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(sorted({_module(task.run) for task in tasks} - {"__main__"}))
    return context


def _module(run: Callable[..., Any]) -> str:
    """Where a function is written."""
    while isinstance(run, partial):
        run = run.func
    return str(getattr(run, "__module__", type(run).__module__))


def _start(context: BaseContext, task: Task, slot: int, threads: int, gpus: int, display: Progress) -> _Active:
    here, sender = context.Pipe(duplex=False)
    process = context.Process(  # type: ignore[attr-defined]  # every context has it, but not the type of all
        target=_work, args=(task, sender, threads, _gpu(slot, gpus) if gpus > 1 else None), name=task.name
    )
    process.start()
    sender.close()
    return _Active(task, process, here, display.add_task(f"  {task.name}", total=1.0, state="starting"), slot)


def _gpu(slot: int, gpus: int) -> str:
    """What CUDA shall see of the GPUs that this program sees: one of them, in turn."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[slot % gpus].strip() if len(visible) >= gpus else str(slot % gpus)


def _listen(job: _Active, display: Progress) -> bool:
    """Take one message; False when there will be no more."""
    try:
        share, state = job.channel.recv()
    except EOFError:
        return False
    if share is None:
        job.process.join()
        raise InputError(f"{job.task.name}: {state}")
    display.update(job.bar, completed=share, state=state)
    return True


def _finish(job: _Active, display: Progress) -> None:
    job.process.join()
    if job.process.exitcode:
        raise RuntimeError(f"{job.task.name} ended with exit code {job.process.exitcode}")


def _work(task: Task, channel: Connection, threads: int, gpu: str | None) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in a terminal is for the parent, which passes it on once
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for what is loaded later
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    console.quiet = True
    logging.getLogger("probunet").addHandler(logging.NullHandler())
    try:
        task.run(lambda share, state: channel.send((share, state)))
    except InputError as error:
        channel.send((None, str(error)))
        raise SystemExit(2) from error
    except Stopped as stopped:
        raise SystemExit(stopped.exit_code) from stopped


def _stop_without_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True)
class InWorker:
    """A function for the worker processes of another library, such as joblib, that end when their parent is killed.

    Attributes:
        run: does the work; picklable.
        parent: number of the process that hands out the work.
    """

    run: Callable[..., Any]
    parent: int = field(default_factory=os.getpid)

    def __call__(self, *arguments: Any) -> Any:
        """Do the work; the first call in a process has it watched."""
        if os.name == "posix" and os.getpid() != self.parent and os.getppid() == self.parent:
            _watch(self.parent)
        return self.run(*arguments)


@cache
def _watch(parent: int) -> None:
    """Stop this process soon after its parent is gone; once for each parent."""

    def wait_for_it() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_it, daemon=True).start()
