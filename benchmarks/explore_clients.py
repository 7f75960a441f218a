"""Many visitors of ``probunet explore`` at once, each asking for cases, hypotheses and files without a pause: JSON.

python benchmarks/explore_clients.py RUN STORE > benchmarks/results/explore_clients.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2
import numpy as np
from measure import machine


async def visit(client: httpx2.AsyncClient, number: int, end: float, times: list[float], answers: Counter[str]) -> None:
    """One visitor: case after case, what the page would ask for, and a file."""
    random = np.random.default_rng(number)
    cases = len((await client.get("/api/cases")).json())
    while time.monotonic() < end:
        case, seed = f"/api/cases/{random.integers(cases)}", random.integers(100)
        for path in (
            case,
            f"{case}/picture",
            f"{case}/readers",
            f"{case}/hypotheses?n=16&seed={seed}",
            f"{case}/labels?n=16&seed={seed}",
            f"{case}/probabilities?n=16&seed={seed}",
            f"{case}/export?format=png&n=16&seed={seed}",
        ):
            start = time.perf_counter()
            try:
                answer = await client.get(path)
                answers["good" if answer.is_success else f"status {answer.status_code}"] += 1
            except httpx2.HTTPError as error:
                answers[type(error).__name__] += 1
            times.append(time.perf_counter() - start)


async def visits(address: str, clients: int, seconds: float) -> tuple[list[float], Counter[str]]:
    times: list[float] = []
    answers: Counter[str] = Counter()
    async with httpx2.AsyncClient(
        base_url=address, timeout=60, limits=httpx2.Limits(max_connections=clients), headers={"Host": "127.0.0.1"}
    ) as client:
        end = time.monotonic() + seconds
        await asyncio.gather(*(visit(client, number, end, times, answers) for number in range(clients)))
    return times, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory of a trained model")
    parser.add_argument("store", help="prepared store")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=8790)
    given = parser.parse_args()
    where, address = machine(), f"http://127.0.0.1:{given.port}"
    command = [sys.executable, "-m", "probunet", "explore", given.run, given.store, "--port", str(given.port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(120):
                try:
                    httpx2.get(address)
                    break
                except httpx2.ConnectError:
                    time.sleep(0.5)
            times, answers = asyncio.run(visits(address, given.clients, given.seconds))
            peak = [line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmHWM" in line]
        finally:
            server.terminate()
    print(
        json.dumps(
            {
                "machine": where,
                "clients": given.clients,
                "seconds": given.seconds,
                "requests": len(times),
                "requests_per_second": len(times) / given.seconds,
                "answers": dict(answers),
                "seconds_median": float(np.median(times)),
                "seconds_99_percent": float(np.quantile(times, 0.99)),
                "server_peak_memory_mib": float(peak[0].split()[1]) / 1024,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
