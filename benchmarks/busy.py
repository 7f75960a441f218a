"""What a busy machine costs: a training and a sampling alone, and beside two processes that never rest; prints JSON.

Every command is a process of its own that begins from nothing, with the threads it chooses itself. With two busy loops
on two cores a fair share is half of the machine, so that 2 is what the ratio can be at best. ``--threads`` adds the
same commands with a thread a core that waits actively, as torch has it without the settings of the commands.

    python benchmarks/busy.py > benchmarks/results/busy.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import yaml
from archive import write_crops, write_model
from measure import machine

LOOPS = 2
STEPS, CROPS = 40, 60
ACTIVE = {"OMP_NUM_THREADS": str(os.cpu_count()), "OMP_WAIT_POLICY": "ACTIVE"}


@contextmanager
def busy(loops: int):
    """So many processes that compute without a pause."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def seconds(words: list[str], environment: dict[str, str]) -> float:
    """Wall time of a command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "probunet", *words], check=True, env=clean | environment, capture_output=True)
    return time.perf_counter() - begin


def configuration(folder: Path) -> Path:
    """A training of the demo's network on the built-in data."""
    file = folder / "train.yaml"
    model = {"class_path": "probunet.ProbabilisticUNet", "init_args": {"channels": [16, 32, 64, 64]}}
    trainer = {"max_steps": STEPS, "val_check_interval": STEPS, "accelerator": "cpu"}
    data = {"store": str(folder / "store"), "crop": 64, "batch_size": 16, "validation_images": 16}
    file.write_text(yaml.safe_dump({"models": {"model": model}, "trainer": trainer, "data": data}))
    return file


def main() -> None:
    """Measure in turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", action="store_true", help="also with a thread a core that waits actively")
    options = parser.parse_args()
    settings = {"as the commands choose": {}} | (
        {"a thread a core, waiting actively": ACTIVE} if options.threads else {}
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds(["prepare", "readers", "--out", str(folder / "store"), "--size", "64", "--limit", "300"], {})
        write_crops(folder / "crops", 0, CROPS)
        sample = ["sample", str(write_model(folder)), str(folder / "crops"), "--out"]
        train, turn, result = ["train", "--config", str(configuration(folder)), "--out"], 0, {}
        for setting, environment in settings.items():
            taken: dict[str, dict[str, list[float]]] = {"training": {}, "sampling": {}}
            for _ in range(options.repeats):
                for state, loops in (("quiet", 0), ("busy", LOOPS)):
                    with busy(loops):
                        for work, words in (("training", train), ("sampling", sample)):
                            turn += 1
                            spent = seconds([*words, str(folder / f"out-{turn}")], environment)
                            taken[work].setdefault(state, []).append(spent)
            result[setting] = {
                work: {
                    **{state: round(statistics.median(found), 2) for state, found in states.items()},
                    "ratio": round(statistics.median(states["busy"]) / statistics.median(states["quiet"]), 2),
                }
                for work, states in taken.items()
            }
    print(
        json.dumps({"machine": machine(), "loops": LOOPS, "steps": STEPS, "crops": CROPS, "seconds": result}, indent=2)
    )


if __name__ == "__main__":
    main()
