from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gloss.artifacts import Artifact
from gloss.data.dataset import Dataset, PurchaseLog, prepare
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError
from gloss.experiment import stages
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.embeddings import KIND, read_embeddings
from gloss.rankers.dual_encoder.ranker import SPEC
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.sources import RankerSources
from gloss.retrieval.dense.encoders import Encoder, Prefixes, open_encoder
from gloss.retrieval.settings import ENCODER
from gloss.training.histories import HistoryLengthWeighting
from preparing import save_dataset

TITLES = [
    *("kite", "string", "wind", "soap", "towel", "bath"),
    *("pan", "oil", "stove", "pen", "ink", "paper"),
]
QUICK = DualEncoderSettings(epochs=2, batch_users=4, learning_rate=1e-4, recent=2, decay=0.5)


@pytest.fixture(autouse=True)
def torch_and_encoder(minilm):
    """Every test here trains the real encoder."""


def shop_of(folder: Path, purchases: int, titles: Sequence[str] = TITLES) -> Dataset:
    """A user for each title, who begins with it and goes round."""
    count = len(titles)
    bought = [(f"u{u}", f"b{(u + n) % count}", n) for u in range(count) for n in range(purchases)]
    items = {"item": [f"b{n}" for n in range(count)], "title": titles}
    columns = ["user", "item", "time"]
    log = PurchaseLog(pl.DataFrame(bought, schema=columns, orient="row"), pl.DataFrame(items), {})
    save_dataset(prepare(log, split="paper"), folder)
    return Dataset.load(folder)


@pytest.fixture
def shop(tmp_path) -> Dataset:
    return shop_of(tmp_path / "shop", purchases=4)


def trained(
    shop: Dataset,
    out: Path,
    settings: DualEncoderSettings = QUICK,
    *,
    titles: TitleStyle = "fair",
    encoder: str = ENCODER,
    seed: int = 0,
    progress: Progress = silent,
) -> Artifact:
    sources = RankerSources(shop, titles, encoder=encoder)
    return stages.train_ranker(SPEC, sources, out, settings=settings, seed=seed, progress=progress)


def contrast(encoder: Encoder) -> float:
    """How much nearer what was bought in a row is than what was not, on average."""
    first = encoder.encode(["kite", "soap", "pan", "pen"], role="query")
    then = encoder.encode(["string", "towel", "oil", "ink"], role="document")
    cosines = first @ then.T
    return float(cosines.diagonal().mean() - cosines.mean())


def test_a_trained_encoder_is_an_encoder_that_tells_what_follows(shop, tmp_path, minilm):
    made = trained(shop, tmp_path / "trained", QUICK.model_copy(update={"epochs": 20}))
    encoder = open_encoder(str(made.path))
    assert made.kind == KIND
    assert made.inputs == {"dataset": shop.fingerprint, "encoder": minilm.fingerprint}
    assert encoder.prefixes == Prefixes()
    assert contrast(encoder) > contrast(minilm) + 0.1
    assert not (made.path / "checkpoints").exists()


def test_what_was_learned_of_the_catalogue_lies_beside_it(shop, tmp_path):
    made = trained(shop, tmp_path / "trained")
    learned = read_embeddings(made.path)
    encoder = open_encoder(str(made.path))
    vectors = encoder.encode(sorted(TITLES), role="document")
    assert [sorted(TITLES)[row] for row in learned.title_rows] == TITLES
    residuals = learned.item_embeddings - vectors
    assert 0 < np.abs(residuals).max() < 0.1
    assert learned.recency_logits.shape == (QUICK.recent,)
    assert learned.gate_logits.std() > 0
    read = sum(weights.numel() for weights in encoder.model().parameters())
    width = vectors.shape[1]
    added = width**2 + 2 * len(TITLES) * width + width + QUICK.recent + 1
    assert made.summary["parameters"] == read + added


def test_without_a_learning_rate_there_are_no_residual_embeddings(shop, tmp_path):
    settings = QUICK.model_copy(update={"residual_learning_rate": 0.0})
    made = trained(shop, tmp_path / "trained", settings)
    vectors = open_encoder(str(made.path)).encode(sorted(TITLES), role="document")
    learned = read_embeddings(made.path)
    assert learned.item_embeddings == pytest.approx(vectors, abs=1e-6)
    projection = np.linalg.lstsq(vectors, learned.query_embeddings, rcond=None)[0]
    assert learned.query_embeddings == pytest.approx(vectors @ projection, abs=1e-3)
    residuals = 2 * len(TITLES) * vectors.shape[1]
    with_residuals = trained(shop, tmp_path / "with").summary["parameters"]
    assert made.summary["parameters"] == with_residuals - residuals


def test_what_follows_a_purchase_is_likelier_than_what_precedes_it(shop, tmp_path):
    made = trained(shop, tmp_path / "trained", QUICK.model_copy(update={"epochs": 20}))
    learned = read_embeddings(made.path)
    first, then = (np.array([sorted(TITLES).index(t) for t in TITLES[n::3]]) for n in (0, 1))
    forth = learned.next_probabilities(first)[range(4), then]
    back = learned.next_probabilities(then)[range(4), first]
    assert forth.mean() > back.mean() + 0.1


def test_the_loss_is_that_of_a_mixture_over_the_last_purchases(minilm):
    """Two purchases make a user; the longer history counts for more; nothing follows itself."""
    import torch

    from gloss.rankers.dual_encoder.network import Network

    rows = [np.array([4, 7, 1, 9]), np.array([3, 5])]
    network = Network(
        minilm.model(), sorted(TITLES), QUICK, HistoryLengthWeighting(rows, 0.5)
    ).eval()
    rng = np.random.default_rng(0)
    for weights in (
        network.projection,
        network.query_residuals,
        network.item_residuals,
        network.gate_vector,
    ):
        weights.data = torch.from_numpy(rng.normal(size=weights.shape).astype(np.float32) / 20)
    network.recency_logits.data = torch.tensor([0.3, -0.2])
    learned = network.embeddings(minilm.encode(sorted(TITLES), role="document"), np.arange(12))
    with torch.no_grad():
        loss = network.loss(
            torch.tensor([[4, 7, 1, 9], [3, 5, 0, 0]]),
            torch.tensor([[1] * 4, [1, 1, 0, 0]]) > 0,
            [0, 1],
        )
    gate, following = learned.mixture_gate, learned.next_probabilities
    chances = [
        gate(np.array(bought)) @ following(np.array(bought))[:, answer]
        for bought, answer in (([4], 7), ([4, 7], 1), ([7, 1], 9), ([3], 5))
    ]
    counts = np.array([3, 3, 3, 1]) ** 0.5
    expected = (-np.log(chances) * counts / counts.mean()).mean()
    assert float(loss) == pytest.approx(expected, abs=1e-4)


def test_a_title_bought_again_has_a_loss(minilm):
    import torch

    from gloss.rankers.dual_encoder.network import Network

    rows = torch.tensor([[2, 2]])
    every = HistoryLengthWeighting(list(rows.numpy()), 0)
    network = Network(minilm.model(), sorted(TITLES), QUICK, every).eval()
    loss = network.loss(rows, rows > 0, [0])
    loss.backward()
    assert float(loss.detach()) == pytest.approx(30)
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_with_repeats_a_title_that_is_bought_again_is_learnt(tmp_path):
    """Everybody buys one title over and over: it becomes its own likeliest next."""
    titles = TITLES[:4]
    bought = [(f"u{u}", f"b{u % 4}", n) for u in range(8) for n in range(4)]
    items = {"item": [f"b{n}" for n in range(4)], "title": titles}
    log = PurchaseLog(
        pl.DataFrame(bought, schema=["user", "item", "time"], orient="row"), pl.DataFrame(items), {}
    )
    save_dataset(prepare(log, split="paper"), tmp_path / "shop")
    made = trained(
        Dataset.load(tmp_path / "shop"),
        tmp_path / "trained",
        QUICK.model_copy(update={"repeats": True}),
    )
    chances = read_embeddings(made.path).next_probabilities(np.arange(4), repeats=True)
    assert (chances.argmax(axis=1) == np.arange(4)).all()
    assert chances.diagonal().mean() > 0.9


def test_several_threads_leave_the_same_gradients(minilm):
    """With steps large enough for torch to share them out."""
    import torch

    from gloss.rankers.dual_encoder.network import Network

    rows = torch.from_numpy(np.random.default_rng(0).integers(0, len(TITLES), (40, 9)))
    every = HistoryLengthWeighting(list(rows.numpy()), 0.5)
    module = Network(minilm.model(), sorted(TITLES), QUICK, every).eval()

    def gradients() -> list[torch.Tensor]:
        module.zero_grad()
        module.loss(rows, torch.ones_like(rows) > 0, list(range(len(rows)))).backward()
        return [p.grad for p in module.parameters() if p.grad is not None]

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradients()
        for _ in range(4):
            assert all(map(torch.equal, first, gradients()))
    finally:
        torch.set_num_threads(threads)


class Killed(Exception):
    pass


def killed_at(step: int) -> Callable[..., None]:
    def progress(done: int, total: int | None, note: str = "") -> None:
        if done == step:
            raise Killed

    return progress


@pytest.mark.parametrize("candidates", [20_000, 3])
def test_a_training_that_was_killed_ends_with_the_same_bytes(shop, tmp_path, candidates):
    settings = QUICK.model_copy(update={"candidates": candidates})
    whole = trained(shop, tmp_path / "whole", settings)
    with pytest.raises(Killed):
        trained(shop, tmp_path / "killed", settings, progress=killed_at(2))
    assert trained(shop, tmp_path / "killed", settings).fingerprint == whole.fingerprint
    assert trained(shop, tmp_path / "other", settings, seed=1).fingerprint != whole.fingerprint


def test_what_cannot_be_learnt_from_is_named(tmp_path):
    lonely = shop_of(tmp_path / "lonely", purchases=1)
    with pytest.raises(InputError, match="no user has two purchases"):
        trained(lonely, tmp_path / "trained")
    with pytest.raises(ConfigError, match="no encoder 'none'"):
        trained(lonely, tmp_path / "trained", encoder="none")
    alike = shop_of(tmp_path / "alike", purchases=4, titles=["kite"] * 3)
    with pytest.raises(InputError, match="all items have the same title"):
        trained(alike, tmp_path / "trained")
