import numpy as np
import pytest
import torch
from copies import CONTEXT, begin
from ddp_worker import score_in_process
from torchmetrics import Metric, MetricCollection

from probunet import metrics
from probunet.core.errors import InputError
from probunet.metrics import Convention
from probunet.metrics import objects as torchmetric

RNG = np.random.default_rng(0)
SAMPLES = torch.from_numpy(RNG.integers(0, 2, (6, 4, 5, 5)))
READERS = torch.from_numpy(RNG.integers(0, 2, (6, 4, 5, 5)))
READERS[0, 2:] = 0
SAMPLES[1] = READERS[1] = 0

FREQUENCIES = metrics.class_frequencies(SAMPLES)
MEANS = [
    (metrics.EnergyDistanceMetric(n=2), metrics.energy_distance(SAMPLES, READERS, n=2).mean()),
    (
        metrics.EnergyDistanceMetric(estimator="unbiased", convention=Convention(empty="one")),
        metrics.energy_distance(SAMPLES, READERS, Convention(empty="one"), estimator="unbiased").mean(),
    ),
    (
        metrics.EnergyDistanceMetric(convention=Convention(empty="skip")),
        metrics.energy_distance(SAMPLES, READERS, Convention(empty="skip")).mean(),
    ),
    (metrics.HungarianIoUMetric(), metrics.hungarian_iou(SAMPLES, READERS).mean()),
    (metrics.BestDiceMetric(), metrics.best_dice(SAMPLES, READERS).mean()),
    (metrics.SampleDiversityMetric(), metrics.sample_diversity(SAMPLES).mean()),
    (metrics.ReconstructionIoUMetric(), metrics.reconstruction_iou(SAMPLES, READERS).mean()),
    (
        metrics.DisagreementCorrelationMetric(),
        metrics.disagreement_correlation(FREQUENCIES, READERS).mean(),
    ),
]


def in_batches(metric, first=SAMPLES, second=READERS):
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        metric.update(first[rows], second[rows])
    return metric


@pytest.mark.parametrize(("metric", "expected"), MEANS)
def test_means_over_batches(metric, expected):
    metric.reset()
    assert float(in_batches(metric).compute()) == pytest.approx(expected)


def test_left_out_is_counted():
    metric = in_batches(metrics.EnergyDistanceMetric(convention=Convention(empty="skip")))
    assert (
        int(metric.left_out)
        == int(metrics.energy_distance(SAMPLES, READERS, Convention(empty="skip")).left_out.sum())
        > 0
    )
    nothing = metrics.EnergyDistanceMetric(convention=Convention(empty="skip"))
    nothing.update(SAMPLES[1:2], READERS[1:2])
    with pytest.raises(InputError, match="none of the 1 images"):
        nothing.compute()


def test_mode_frequencies():
    metric = in_batches(metrics.ModeFrequencyMetric([1, 1, 1, 1]))
    found = metrics.mode_frequencies(metrics.pairwise_distances(SAMPLES, READERS), [1, 1, 1, 1])
    assert float(metric.compute()["total_variation"]) == pytest.approx(found.total_variation.mean)
    assert (metric.compute()["frequencies"] * 24).tolist() == found.counts.tolist()


def test_pixel_frequencies():
    metric = in_batches(metrics.PixelFrequencyMetric([(0, 1)]), SAMPLES, READERS[:, 0])
    expected = metrics.pixel_frequencies(READERS[:, 0], SAMPLES, [(0, 1)])
    assert metric.compute().tolist() == expected.tolist()


def test_calibration():
    found = in_batches(metrics.CalibrationMetric()).compute()
    expected = metrics.reliability(FREQUENCIES, READERS)
    assert float(found["ece"]) == pytest.approx(expected.ece().mean)
    assert float(found["brier"]) == pytest.approx(expected.brier().mean)
    np.testing.assert_allclose(found["curve"], expected.curve())


@pytest.mark.parametrize("on", ["presence", "area"])
def test_disagreement(on):
    function = metrics.presence_disagreement if on == "presence" else metrics.area_disagreement
    expected = function(metrics.pairwise_distances(SAMPLES, READERS))
    found = in_batches(metrics.DisagreementMetric(on)).compute()
    np.testing.assert_allclose(found["auroc"], np.nan if expected.auroc is None else expected.auroc)


def test_two_processes_give_the_same_as_one():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    begin()
    results = CONTEXT.Queue()
    workers = [
        CONTEXT.Process(target=score_in_process, args=(rank, port, results, SAMPLES, READERS)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    found = sorted(results.get(timeout=120) for _ in range(24))
    for worker in workers:
        worker.join(timeout=10)
    distances = metrics.pairwise_distances(SAMPLES, READERS)
    expected = [
        metrics.energy_distance(SAMPLES, READERS).mean(),
        metrics.best_dice(SAMPLES, READERS).mean(),
        metrics.hungarian_iou(SAMPLES, READERS).mean(),
        metrics.reliability(FREQUENCIES, READERS).ece().mean,
        metrics.presence_disagreement(distances).auroc,
        metrics.area_disagreement(distances).auroc,
    ]
    for rank in range(2):
        for kind in ("uneven", "idle"):
            mine = {place: value for r, k, place, value in found if (r, k) == (rank, kind)}
            np.testing.assert_allclose([mine[place] for place in range(6)], expected)


def test_every_shell_is_exported():
    shells = {name for name, kind in vars(torchmetric).items() if isinstance(kind, type) and issubclass(kind, Metric)}
    public = {name for name in shells - {"Metric"} if not name.startswith("_")}
    assert public >= {"EnergyDistanceMetric", "CalibrationMetric"}
    assert public <= set(metrics.__all__)


def test_a_collection_gives_what_each_metric_gives_alone():
    """After a first batch without marks many sums are equal; MetricCollection must not take the metrics for one."""

    def make():
        return {
            "one": metrics.EnergyDistanceMetric(n=1),
            "four": metrics.EnergyDistanceMetric(n=4),
            "unbiased": metrics.EnergyDistanceMetric(estimator="unbiased"),
            "one again": metrics.EnergyDistanceMetric(n=1),
            "dice": metrics.BestDiceMetric(),
            "hungarian": metrics.HungarianIoUMetric(),
            "diversity": metrics.SampleDiversityMetric(),
        }

    alone, together = make(), MetricCollection(make())
    nothing = torch.zeros(4, 4, 5, 5, dtype=torch.uint8)
    for samples, readers in ((nothing, nothing), (SAMPLES[2:6], READERS[2:6])):
        together.update(samples, readers)
        for metric in alone.values():
            metric.update(samples, readers)
    assert {tuple(sorted(names)) for names in together.compute_groups.values() if len(names) > 1} == {
        ("one", "one again")
    }
    for name, value in together.compute().items():
        assert float(value) == pytest.approx(float(alone[name].compute())), name
    values = {name: float(metric.compute()) for name, metric in alone.items()}
    half = metrics.energy_distance(SAMPLES[2:6], READERS[2:6], n=4).mean() / 2
    assert values["four"] == pytest.approx(half)
