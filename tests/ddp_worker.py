"""What a spawned process runs; in a module of its own, so that the process finds it however pytest was started."""

import torch
import torch.distributed as dist

from probunet import metrics


def score_in_process(rank, port, results, samples, readers):
    """Update three metrics with this process's part of six images and report what the group computes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        rows = slice(0, 2) if rank == 0 else slice(2, 6)
        for metric in (
            metrics.EnergyDistanceMetric(),
            metrics.CalibrationMetric(),
            metrics.DisagreementMetric(),
        ):
            metric.update(samples[rows], readers[rows])
            found = metric.compute()
            results.put((rank, float(found if isinstance(found, torch.Tensor) else next(iter(found.values())))))
    finally:
        dist.destroy_process_group()
