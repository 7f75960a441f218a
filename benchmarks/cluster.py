"""Many small pictures through ``probunet sample --cluster`` on two Dask workers: prints JSON.

Pictures of 32x32 px, 4 hypotheses each, by an untrained network of the demo's size; the workers are processes of this
machine with one thread each. Memory and processor time of the workers are looked at all the while: what matters is
whether memory grows. Its growth is that between a quarter of the pictures and all of them, over both workers. Dask's
statistical profiler is off, as docs/scale.md says, unless it is asked for: what it notes grows for an hour.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py --pictures 5000
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
from archive import write_model
from distributed import LocalCluster
from measure import machine
from PIL import Image

from probunet.commands.sample import sample
from probunet.core.console import speaking

SIDE, N, WORKERS = 32, 4, 2


def write_pictures(folder: Path, count: int) -> None:
    """Noise with a brighter middle."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        image = random.integers(80, 120, (SIDE, SIDE), dtype=np.uint8)
        image[8:24, 8:24] += np.uint8(i % 100)
        Image.fromarray(image).save(folder / f"{i:06d}.png")


class Watch(threading.Thread):
    """Notes pictures done and memory of some processes, every two seconds.

    Args:
        processes: that are watched.
        out: folder of the results.
    """

    def __init__(self, processes: list[psutil.Process], out: Path) -> None:
        super().__init__(daemon=True)
        self.processes, self.out, self.ended = processes, out, threading.Event()
        self.seen: list[tuple[int, float, int]] = []
        """Pictures done, seconds, and bytes of all processes."""

    def run(self) -> None:
        """Until it is told to end."""
        while not self.ended.wait(2):
            done = sum(1 for _ in os.scandir(self.out)) if self.out.is_dir() else 0
            memory = sum(process.memory_info().rss for process in self.processes)
            self.seen.append((done, time.perf_counter(), memory))

    def since(self, done: float) -> tuple[int, float, float]:
        """Pictures, minutes and mebibytes that came after so many pictures were done."""
        first, last = next(row for row in self.seen if row[0] >= done), self.seen[-1]
        return last[0] - first[0], (last[1] - first[1]) / 60, (last[2] - first[2]) / 2**20


def measure(pictures: int, folder: Path) -> dict[str, Any]:
    write_pictures(folder / "pictures", pictures)
    model, out = write_model(folder), folder / "out"
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster:
        processes = [psutil.Process(worker.process.pid) for worker in cluster.workers.values()]
        watch, start = Watch(processes, out), time.perf_counter()
        before = sum(sum(process.cpu_times()[:2]) for process in processes)
        watch.start()
        with speaking(quiet=True):
            address = cluster.scheduler_address
            sample(str(model), [folder / "pictures"], out=out, n=N, device="cpu", cluster=address)
        seconds = time.perf_counter() - start
        work = sum(sum(process.cpu_times()[:2]) for process in processes) - before
        watch.ended.set()
        watch.join()
    further, minutes, growth = watch.since(pictures / 4)
    return {
        "pictures": pictures,
        "results": sum(1 for _ in os.scandir(out)),
        "seconds": round(seconds, 1),
        "processor_seconds_of_the_workers": round(work, 1),
        "milliseconds_of_the_processor_per_picture": round(1000 * work / pictures, 2),
        "mebibytes_of_the_workers": round(watch.seen[-1][2] / 2**20, 1),
        "kibibytes_per_further_picture": round(1024 * growth / max(further, 1), 2),
        "mebibytes_per_further_minute": round(growth / max(minutes, 1e-3), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--profiler", action="store_true", help="leave Dask's profiler on")
    given = parser.parse_args()
    where, profiler = machine(), {"distributed.worker.profile.enabled": given.profiler}
    with dask.config.set(profiler), tempfile.TemporaryDirectory() as place:
        print(json.dumps({"machine": where, **measure(given.pictures, Path(place))}, indent=2))


if __name__ == "__main__":
    main()
