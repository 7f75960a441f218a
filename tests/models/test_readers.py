"""Readers are persons: each is a component of the distribution, and together they are the distribution."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import probunet as pu
from probunet.cli import main
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.data.batches import EvaluationImages
from probunet.distributions.hierarchical import FieldsOfReaders
from probunet.evaluation.persons import PersonScores, known_readers, score_persons
from probunet.metrics import Convention, energy_distance
from probunet.objectives.energy_score import EnergyScore, _score_by_reader, unbiased_energy_score
from probunet.testing import check_model

NAMES = ("Ada", "Béla", "C 3")
OF_FIELDS = ("every_parameter_learns", "one_noise_is_one_hypothesis", "a_batch_is_its_images", "tiles_are_the_whole")

LATENT = {
    pu.ProbabilisticUNet: {"channels": (4, 6), "latent_dims": 2},
    pu.MixtureOfExperts: {"channels": (4, 6), "latent_dims": 2},
}
FIELDS = {
    pu.HierarchicalProbabilisticUNet: {"channels": (4, 6, 6), "latent_dims": (1, 2), "convolutions": 2},
    pu.PHiSeg: {"channels": (4, 6, 6), "latent_dims": (1, 2), "convolutions": 1},
    pu.StochasticSegmentationNetwork: {"channels": (4, 6), "rank": 2, "draws": 6},
}
SMALL = LATENT | FIELDS
KINDS = list(SMALL)


def model(kind=pu.ProbabilisticUNet, **arguments):
    torch.manual_seed(0)
    return kind(1, 2, **{**SMALL[kind], "reader_names": NAMES, **arguments}).eval()


@pytest.fixture
def image(generator):
    return torch.randn(2, 1, 16, 16, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_the_mixture_over_readers_is_the_distribution_of_any_reader(image, kind):
    """P(Y | X) = sum_r share_r P(Y | X, reader r)."""
    made = model(kind, shares=(2, 1, 1))
    whole = made(image)
    assert whole.components == 3
    each = 128 if kind in LATENT else 40
    by_reader = [made(image, name).probabilities(samples=each) for name in NAMES]
    mixed = 0.5 * by_reader[0] + 0.25 * by_reader[1] + 0.25 * by_reader[2]
    tolerance = 5e-3 if kind in LATENT else 0.12
    torch.testing.assert_close(whole.probabilities(samples=3 * each), mixed, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_the_likelihood_of_any_reader_is_the_mixture_of_theirs(kind, dims, generator):
    """Equal to the last digits, as all of them are estimated at the same draws."""
    made = model(kind, shares=(2, 1, 1), dims=dims)
    volume = torch.randn(2, 1, *(3, 16, 16)[-dims:], generator=generator)
    label = (volume[:, 0] > 0).to(torch.uint8)
    inferred = hasattr(made, "objective")  # from the label, in the same way for all readers; else reader by reader
    source = torch.Generator().manual_seed(1)
    each = []
    for name in NAMES:
        source = torch.Generator().manual_seed(1) if inferred else source
        each.append(made(volume, name).log_prob(label, 4, source))
    mixed = torch.logsumexp(torch.stack(each) + torch.tensor([[0.5], [0.25], [0.25]]).log(), dim=0)
    whole = made(volume).log_prob(label, 4 if inferred else 12, torch.Generator().manual_seed(1))
    torch.testing.assert_close(whole, mixed, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", LATENT)
def test_draws_of_any_reader_come_from_each_in_proportion(image, kind):
    made = model(kind, shares=(2, 1, 1))
    whole = made(image)
    latent = whole.latent
    z = latent.place(whole.noise(4000, torch.Generator().manual_seed(1)))
    means = torch.stack([made(image, name).latent.prior.mean for name in NAMES])
    expected = 0.5 * means[0] + 0.25 * means[1] + 0.25 * means[2]
    torch.testing.assert_close(z.mean(dim=0), expected, atol=0.3, rtol=0)


def test_a_random_field_is_drawn_by_each_reader_in_proportion(generator):
    """Of 8 that cover, shares of 1/2, 1/4 and 1/4 have 4, 2 and 2, one more or less; opposite ones often share."""
    fields = FieldsOfReaders(torch.tensor([0.5, 0.25, 0.25]).log(), 2)
    readers = fields.place(fields.draw(4000, generator))[..., 0]
    torch.testing.assert_close(readers.flatten().bincount() / 8000, torch.tensor([0.5, 0.25, 0.25]), atol=0.02, rtol=0)
    for _ in range(5):
        covering = fields.place(fields.draw(8, generator, cover=True))
        for image in (0, 1):
            counts = covering[:, image, 0].bincount(minlength=3)
            assert ((counts - torch.tensor([4, 2, 2])).abs() <= 1).all()
        assert torch.equal(covering[::2, :, 1], covering[1::2, :, 1] ^ 1)
    even = FieldsOfReaders(torch.tensor([0.5, 0.5]).log(), 1)
    pairs = torch.cat([even.place(even.draw(8, generator, cover=True)) for _ in range(20)])
    assert (pairs[::2, :, 0] == pairs[1::2, :, 0]).float().mean() > 0.6  # three of four; by chance three of seven


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_reader_is_named_or_numbered(image, kind):
    made = model(kind)
    noise = made(image, "Béla").noise(3, torch.Generator().manual_seed(0))
    named = made(image, "Béla").logits(noise)
    assert torch.equal(named, made(image, torch.tensor([1, 1])).logits(noise))
    assert torch.equal(named, made.tiled(image, reader="Béla").logits(noise))
    mixed = made(image, torch.tensor([1, 2])).logits(noise)
    torch.testing.assert_close(mixed[:, 0], named[:, 0])
    assert not torch.allclose(mixed[:, 1], named[:, 1], atol=1e-3)


@pytest.mark.parametrize("law", OF_FIELDS)
@pytest.mark.parametrize("kind", FIELDS)
def test_of_volumes_with_readers_a_model_obeys_the_laws_of_all_models(kind, law, generator):
    images = torch.randn(2, 1, 3, 18, 16, generator=generator)
    labels = (images[:, 0] > 0).to(torch.uint8)
    check_model(model(kind, dims=3, spacing=(2.5, 1, 1)), images, labels, [law])


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_is_taught_by_the_loss_and_by_the_energy_score(image, kind, generator):
    """Both have a gradient in what a reader is, and in nothing of a reader who drew none of the images."""
    made = model(kind)
    readings = torch.randint(2, (2, 3, 16, 16), generator=generator).to(torch.uint8)
    parameters = [made.get_parameter(name) for name in made.reader_parameters]
    loss = made.loss_of_reader(image, readings[:, 1], torch.tensor([1, 1]), generator)
    assert loss.distribution.components == 3
    for change in torch.autograd.grad(loss.total, parameters):
        reached = change.abs().sum(dim=1)
        assert reached[1] > 0
        assert reached[0] == reached[2] == 0
    score = EnergyScore(samples=3).of(made(image), readings, Convention(2), generator, by_reader=True)
    for change in torch.autograd.grad(score, parameters):
        assert (change.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("Zoe", "'Zoe' is not known; this model knows Ada, Béla, C 3"),
        (torch.tensor([0, 3]), "a component from 0 to 2"),
        (torch.tensor([0]), "each of 2 images"),
        (torch.tensor([-1, 0]), "a component from 0 to 2"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_reader_is_refused(image, kind, chosen, words):
    with pytest.raises(InputError, match=words):
        model(kind)(image, chosen)


def test_a_model_without_readers_knows_none(image):
    with pytest.raises(InputError, match="this model knows none, as it was trained without their names"):
        pu.UNet(1, 2, channels=(4, 6))(image, "Ada")
    plain = pu.ProbabilisticUNet(1, 2, channels=(4, 6), latent_dims=2)
    with pytest.raises(InputError, match="no components to choose from"):
        plain(image).component(torch.tensor([0, 0]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reader_names": ("A", "A")}, "different persons"),
        ({"reader_names": ("A", "")}, "none of them empty"),
        ({"reader_names": ("A", "B"), "shares": (1,)}, "one positive number for each of the 2"),
        ({"reader_names": ("A", "B"), "shares": (1, 0)}, "one positive number"),
        ({"shares": (1, 2)}, "give reader_names"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_readers_that_mean_nothing_are_refused(kind, arguments, words):
    with pytest.raises(InputError, match=words):
        kind(1, 2, **SMALL[kind], **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"prior": "fixed"}, "reader_names need prior='conditional'"), ({"prior_family": "full"}, "reader_names need")],
)
def test_readers_who_need_another_prior_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        model(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reader_names": ("A", "B"), "experts": 2}, "every reader is an expert; leave out experts and limit"),
        ({"reader_names": ("A", "B"), "limit": 0.5}, "every reader is an expert"),
    ],
)
def test_experts_who_are_readers_take_no_more_than_their_names(arguments, words):
    with pytest.raises(InputError, match=words):
        pu.MixtureOfExperts(1, 2, channels=(4, 6), **arguments)


def test_experts_learn_from_their_own_readers_alone(image, generator):
    """-log mean_i P(Y_r | z_i of expert r), averaged over who looked; by hand from the hypotheses."""
    made = model(pu.MixtureOfExperts, draws=2)
    labels = torch.randint(2, (2, 3, 16, 16), generator=generator)
    labels[1, 0] = IGNORE
    loss = made.loss_of_readers(image, labels, torch.Generator().manual_seed(1))
    hypotheses, _ = made(image).strata(2, torch.Generator().manual_seed(1))
    probability = hypotheses.log_softmax(dim=2)
    by_image = []
    for i, looked in enumerate(([0, 1, 2], [1, 2])):
        each = []
        for r in looked:
            own = probability[2 * r : 2 * r + 2, i].double()
            hits = torch.where(labels[i, r] == 1, own[:, 1], own[:, 0]).sum(dim=(-2, -1))
            each.append(np.log(2) - hits.logsumexp(dim=0))
        by_image.append(torch.stack(each).mean())
    torch.testing.assert_close(loss.total.double(), torch.stack(by_image).mean(), rtol=1e-4, atol=1e-3)
    alone = made.loss_of_reader(image, labels[:, 1], torch.tensor([1, 1]), torch.Generator().manual_seed(1))
    assert alone.distribution.components == 3


@pytest.mark.parametrize("kind", KINDS)
def test_with_one_reader_it_is_the_plain_model(image, kind, generator):
    """A single component: the same distribution with and without the name, of the plain model's networks."""
    made = model(kind, reader_names=("A",))
    assert made(image).sample(3, generator).shape == (3, 2, 16, 16)
    label = made(image).sample(1, generator)[0]
    whole, only = (made(image, name).log_prob(label, 8, torch.Generator().manual_seed(3)) for name in (None, "A"))
    torch.testing.assert_close(whole, only)
    loss, of_reader = (
        give(torch.Generator().manual_seed(4)).total
        for give in (
            lambda g: made.loss_of_reader(image, label, torch.tensor([0, 0]), g),
            lambda g: made.loss_under(made(image, "A"), label, g),
        )
    )
    torch.testing.assert_close(loss, of_reader)
    if kind in FIELDS:
        plain = kind(1, 2, **SMALL[kind]).state_dict()
        assert set(plain) == {name for name in made.state_dict() if not name.startswith("persons.")}


def test_the_energy_score_by_reader_compares_each_with_the_own_component(generator):
    """Component r draws certain maps equal to reader r: by reader the score is 0, whichever readers looked."""
    maps = torch.rand(3, 2, 1, 30, generator=generator).round()  # (R, B, K, P)
    looked = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    twice = maps.repeat_interleave(2, dim=0)
    assert _score_by_reader(twice, maps, looked, "zero").tolist() == [0.0, 0.0]
    swapped = maps[[1, 0, 2]].repeat_interleave(2, dim=0)
    apart = [unbiased_energy_score(maps[1:2, :1].repeat(2, 1, 1, 1), maps[:1, :1], torch.ones(1, 1))]
    expected = 2 * float(apart[0]) / 3
    assert float(_score_by_reader(swapped, maps, looked, "zero")[0]) == pytest.approx(expected)
    with pytest.raises(InputError, match="do not divide among 3 readers"):
        _score_by_reader(maps[:2], maps, looked, "zero")


FILE = Path(__file__).parents[2] / "benchmarks" / "reader_styles.py"
SPECIFICATION = importlib.util.spec_from_file_location("reader_styles", FILE)
benchmark = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(benchmark)
STYLES = benchmark.STYLES


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    """A store of readers with known styles."""
    names, images, labels = zip(*benchmark.simulated(), strict=True)
    return pu.make_store(
        (np.stack(images), np.stack(labels)),
        tmp_path_factory.mktemp("styles") / "store",
        readers=list(STYLES),
        patients=list(names),
    )


def trained(made, styles, readers, steps, samples, generator):
    """Fit a model to the first of the readers; give it with images and readings that it has not seen."""
    images, readings = torch.from_numpy(styles.normalised(np.arange(60))), torch.from_numpy(np.array(styles.labels))
    benchmark.fit(made, images[:45], readings[:45, :readers], steps, generator, samples)
    return made.eval(), images[45:], readings[45:]


@pytest.mark.parametrize("kind", FIELDS)
def test_a_reader_who_draws_less_is_recovered(styles, generator, kind):
    """Simulated readers of 2 and 5 px: in their places, areas are theirs, and the mixture is nearer to both."""
    arguments = {"objective": pu.ELBO(), "pixels": pu.All()} if kind is pu.HierarchicalProbabilisticUNet else {}
    sizes = {"rank": 2, "draws": 2} if kind is pu.StochasticSegmentationNetwork else {"latent_dims": (2,)}
    made = model(kind, channels=(8, 12), convolutions=1, reader_names=("small", "large"), **sizes, **arguments)
    made, image, readings = trained(made, styles, 2, 40, 2, generator)
    with torch.inference_mode():
        whole, small, large = (made(image, name).sample(16, generator) for name in (None, "small", "large"))
    assert float(large.float().mean()) * 256 == pytest.approx(5**2 * np.pi, rel=0.2)
    assert float(small.float().mean()) < 0.55 * float(large.float().mean())
    distances = [
        float(energy_distance(drawn.movedim(0, 1), readings[:, :2]).value.mean()) for drawn in (whole, small, large)
    ]
    assert distances[0] < min(distances[1:])


@pytest.mark.parametrize("kind", LATENT)
def test_known_styles_are_recovered(styles, generator, kind):
    """Simulated readers: areas come out in order, and who marks half of the lesions leaves about half empty."""
    made = model(kind, channels=(8, 12), latent_dims=3, convolutions=2, batch_norm=True, reader_names=tuple(STYLES))
    made, image, readings = trained(made, styles, 3, 80, 3, generator)
    draws = {name: made(image, name).sample(32, torch.Generator().manual_seed(0)) for name in STYLES}
    areas = {name: drawn.float().sum(dim=(-2, -1)) for name, drawn in draws.items()}
    assert float(areas["large"].mean()) == pytest.approx(5**2 * np.pi, rel=0.3)
    assert float(areas["small"].mean()) < 0.5 * float(areas["large"].mean())
    assert 0.15 < float((areas["rare"] == 0).float().mean()) < 0.85
    mixed = made(image).sample(32, torch.Generator().manual_seed(0)).movedim(0, 1)
    blind = draws["large"].movedim(0, 1)
    assert energy_distance(mixed, readings).value.mean() < energy_distance(blind, readings).value.mean()
    images = EvaluationImages(styles, "test")
    shown = default_collate([images[i] for i in range(len(images))])
    scores = score_persons(
        made(shown["image"]), shown, styles, known_readers(made, styles), torch.Generator().manual_seed(0)
    )
    persons = PersonScores(styles.reader_names, *scores)
    told = persons.as_json(list(range(len(persons.own))), 0)
    small, large, _ = told["readers"]
    for row, radius in ((small, 2), (large, 5)):
        assert row["drawn"] == pytest.approx(radius**2 * np.pi, rel=0.1)
        assert row["own"] > row["any"]
    assert told["difference"]["low"] > 0
    assert told["area_correlation"] > 0.9


def test_other_readers_than_the_stores_are_refused(styles, store, tmp_path):
    def train(data, *names):
        pu.train(
            pu.ProbabilisticUNet(1, 2, channels=(4, 6), latent_dims=2, reader_names=names),
            data,
            tmp_path / "run",
            steps=1,
        )

    with pytest.raises(InputError, match="does not say which person drew a reading"):
        train(store, "A", "B")
    with pytest.raises(InputError, match=r"are large, small, rare, those of .* small, large, rare"):
        train(styles, "large", "small", "rare")


@pytest.fixture(params=KINDS)
def known(styles, tmp_path, request):
    """An exported model of the first two readers; its weights are random."""
    torch.manual_seed(0)
    made = model(request.param, reader_names=("small", "large"))
    unit = {"unit": styles.intensity.unit, "offset": styles.intensity.offset, "scale": styles.intensity.scale}
    facts = {"intensity": unit, "crop": 16, "classes": styles.classes, "spacing_mm": None}
    pu.save(made, tmp_path / "known", input={**facts, "title": "discs", "simulated": True})
    return tmp_path / "known"


def test_a_new_reader_is_fitted_and_the_others_stay(styles, known, tmp_path, capsys):
    """Only the likelihood of the new person's readings changes, and for the better."""
    words = ["adapt", str(known), "--reader", "rare", "--data", str(styles.path), "--steps", "30"]
    main([*words, "--out", str(tmp_path / "adapted")])
    assert "knows rare from 42 readings of the train split" in " ".join(capsys.readouterr().err.split())
    card = (tmp_path / "adapted" / "README.md").read_text()
    assert "readers whom it knows by name: small, large, rare" in card
    assert "taught afterwards: rare from 42 readings" in card
    before, after = (pu.load(path).eval() for path in (known, tmp_path / "adapted"))
    image = torch.from_numpy(styles.normalised(np.arange(4)))
    for name in ("small", "large"):
        noise = before(image, name).noise(2, torch.Generator().manual_seed(0))
        assert torch.equal(before(image, name).logits(noise), after(image, name).logits(noise))
    noise = after(image, "rare").noise(1, torch.Generator().manual_seed(0))
    third = after(image).component(torch.full((4,), 2))
    assert torch.equal(third.logits(noise), after(image, "rare").logits(noise))
    rows = styles.indices("test")
    images, drawn = torch.from_numpy(styles.normalised(rows)), torch.from_numpy(styles.labels[rows][:, 2])

    def nats(reader):
        numbers = torch.full((len(images),), reader)
        return after.loss_of_reader(images, drawn, numbers, torch.Generator().manual_seed(0)).total.item()

    assert nats(2) < min(nats(0), nats(1))
    torch.testing.assert_close(after.get_buffer(after.reader_shares), torch.full((3,), 1 / 3))


@pytest.mark.parametrize(
    ("reader", "words"), [("Zoe", "names small, large, rare, and not 'Zoe'"), ("small", "knows 'small' already")]
)
def test_a_reader_who_cannot_be_added_is_one_sentence(styles, known, tmp_path, failing, reader, words):
    arguments = ["adapt", str(known), "--reader", reader, "--data", str(styles.path), "--out", str(tmp_path / "new")]
    assert words in failing(*arguments)
    assert not (tmp_path / "new").exists()


def test_a_reader_who_is_written_in_two_ways_is_not_added(styles, known, tmp_path, failing):
    store = tmp_path / "store"
    shutil.copytree(styles.path, store)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["readers"] = ["Small", "large", "rare"]
    (store / "manifest.json").write_text(json.dumps(manifest))
    arguments = ["adapt", str(known), "--reader", "Small", "--data", str(store), "--out", str(tmp_path / "new")]
    assert "write one name always in one way" in failing(*arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["intensity"].update(unit="HU"), "holds HU, the model of"),
        (lambda m: m.update(classes=m["classes"][::-1]), "has the classes lesion, background, the model of"),
        (lambda m: m.update(classes=[*m["classes"], "other"]), "3 classes"),
    ],
)
def test_a_reader_is_not_fitted_to_data_of_another_kind(styles, known, tmp_path, failing, change, words):
    shutil.copytree(styles.path, tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    change(manifest)
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
    arguments = ["adapt", str(known), "--reader", "rare", "--data", str(tmp_path / "other"), "--steps", "1"]
    assert words in failing(*arguments, "--out", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_the_command_and_python_draw_like_a_reader(styles, known, tmp_path, failing):
    raw = np.array(styles.images[0])
    np.save(tmp_path / "disc.npy", raw)
    words = ["sample", str(known), str(tmp_path / "disc.npy"), "-n", "3", "--format", "npy", "--device", "cpu"]
    main([*words, "--reader", "large", "--out", str(tmp_path / "out")])
    drawn = np.load(tmp_path / "out/disc/samples.npy")
    prediction = pu.Predictor.load(known, device="cpu")(tmp_path / "disc.npy", reader="large")
    assert np.array_equal(drawn, prediction.sample(3))
    assert json.loads((tmp_path / "out/disc/summary.json").read_text())["request"]["reader"] == "large"
    assert "'Zoe' is not known; this model knows small, large" in failing(
        *words, "--reader", "Zoe", "--out", str(tmp_path / "no")
    )


@pytest.mark.parametrize("kind", FIELDS)
def test_a_run_keeps_its_readers(styles, tmp_path, kind):
    """From the training through checkpoint and export to what is drawn in their places."""
    made = model(kind, reader_names=tuple(STYLES))
    run = pu.train(made, styles, tmp_path / "run", steps=1, batch_size=2, energy=pu.EnergyScore(samples=2))
    main(["export", str(run.path), "--out", str(tmp_path / "exported")])
    np.save(tmp_path / "disc.npy", np.array(styles.images[0]))
    words = ["sample", str(tmp_path / "exported"), str(tmp_path / "disc.npy"), "-n", "3", "--format", "npy"]
    main([*words, "--device", "cpu", "--reader", "large", "--out", str(tmp_path / "out")])
    predictor = pu.Predictor.load(run.path, device="cpu")
    assert predictor.model.reader_names == tuple(STYLES)
    expected = predictor(tmp_path / "disc.npy", reader="large").sample(3)
    assert np.array_equal(np.load(tmp_path / "out/disc/samples.npy"), expected)


def test_a_run_is_scored_by_reader(tmp_path, capsys):
    """In the table, the file and the page, whole and in shards; a missing reading counts for nobody."""
    names = list(STYLES)
    images = np.zeros((12, 1, 16, 16), np.float32)
    labels = np.zeros((12, 3, 16, 16), np.uint8)
    labels[:, 0, 4:8, 4:8] = 1
    labels[:, 1, 4:12, 4:12] = 1
    labels[::2, 2] = 255
    store = pu.make_store((images, labels), tmp_path / "store", readers=names, patients=list(map(str, range(12))))
    torch.manual_seed(0)
    made = pu.ProbabilisticUNet(1, 2, channels=(4, 6), latent_dims=2, reader_names=tuple(names))
    run = pu.train(made, store, tmp_path / "run", steps=2, batch_size=2)
    main(["evaluate", str(run.path), "--n", "1", "2"])
    assert "readers, by name" in capsys.readouterr().out
    persons = json.loads((run.path / "evaluation.json").read_text())["persons"]
    rows = {row["reader"]: row for row in persons["readers"]}
    assert (rows["small"]["drawn"], rows["large"]["drawn"]) == (16, 64)
    looked = [bool((store.labels[i][2] != 255).all()) for i in store.indices("test")]
    assert rows.get("rare", {"images": 0})["images"] == sum(looked)
    for shard in ("0/2", "1/2"):
        main(["evaluate", str(run.path), "--n", "1", "2", "--again", "--shard", shard])
    assert json.loads((run.path / "evaluation.json").read_text())["persons"] == persons
    main(["report", str(run.path)])
    assert "Does the model draw like each reader?" in (run.path / "report.html").read_text()
    turned = labels[:, [2, 0, 1, 0]]  # other columns, and somebody who is not known: the persons are the same
    known = [names[2], names[0], names[1], "nobody"]
    other = pu.make_store((images, turned), tmp_path / "turned", readers=known, patients=list(map(str, range(12))))
    main(["evaluate", str(run.path), "--n", "1", "2", "--data", str(other.path)])
    again = json.loads((run.path / "evaluation.json").read_text())["persons"]
    assert {row["reader"]: (row["images"], row["own"], row["drawn"]) for row in again["readers"]} == {
        row["reader"]: (row["images"], row["own"], row["drawn"]) for row in persons["readers"]
    }
