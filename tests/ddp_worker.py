"""What a spawned process runs; in a module of its own, so that the process finds it however pytest was started."""

import torch
import torch.distributed as dist

from probunet import metrics


def every_kind():
    """One metric of every kind of state: means of images, sums of bins, lists of scores."""
    return (
        metrics.EnergyDistanceMetric(),
        metrics.BestDiceMetric(),
        metrics.HungarianIoUMetric(),
        metrics.CalibrationMetric(),
        metrics.DisagreementMetric("presence"),
        metrics.DisagreementMetric("area"),
    )


def score_in_process(rank, port, results, samples, readers):
    """Update metrics of every kind of state with this process's part of six images and report what the group computes.

    Once with two and four images, and once with none and six: fewer batches than processes.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        for kind, first in (("uneven", 2), ("idle", 0)):
            rows = slice(0, first) if rank == 0 else slice(first, 6)
            for place, metric in enumerate(every_kind()):
                if len(samples[rows]):
                    metric.update(samples[rows], readers[rows])
                value = metric.compute()
                number = float(value if isinstance(value, torch.Tensor) else next(iter(value.values())))
                results.put((rank, kind, place, number))
    finally:
        dist.destroy_process_group()
