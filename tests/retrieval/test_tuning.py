from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gloss import stages
from gloss.artifacts import Artifact
from gloss.config import Transitions, Tuning
from gloss.data.dataset import Dataset, PurchaseLog, prepare, save
from gloss.errors import ConfigError, InputError
from gloss.retrieval.encoders import TAUGHT, VECTORS, Encoder, Prefixes, open_encoder

TITLES = [
    *("kite", "string", "wind", "soap", "towel", "bath"),
    *("pan", "oil", "stove", "pen", "ink", "paper"),
]
QUICK = Tuning(epochs=2, batch_users=4, learning_rate=1e-4)
ASKED = Transitions(recent=2, decay=0.5)


@pytest.fixture(autouse=True)
def torch_and_encoder(minilm):
    """Every test here trains the real encoder."""


def shop_of(folder: Path, purchases: int) -> Dataset:
    """A user for each title, who begins with it and goes round."""
    count = len(TITLES)
    bought = [(f"u{u}", f"b{(u + n) % count}", n) for u in range(count) for n in range(purchases)]
    items = {"item": [f"b{n}" for n in range(len(TITLES))], "title": TITLES}
    columns = ["user", "item", "time"]
    log = PurchaseLog(pl.DataFrame(bought, schema=columns, orient="row"), pl.DataFrame(items), {})
    save(prepare(log, split="paper"), folder, config={})
    return Dataset.load(folder)


@pytest.fixture
def shop(tmp_path) -> Dataset:
    return shop_of(tmp_path / "shop", purchases=4)


def taught(shop: Dataset, out: Path, settings: Tuning = QUICK, **told) -> Artifact:
    wanted = {"encoder": "all-MiniLM-L6-v2", "titles": "fair", "asked": ASKED, "seed": 0, **told}
    return stages.tune(shop.path, out, settings=settings, **wanted)


def contrast(encoder: Encoder) -> float:
    """How much nearer what was bought in a row is than what was not, on average."""
    first = encoder.encode(["kite", "soap", "pan", "pen"], role="query")
    then = encoder.encode(["string", "towel", "oil", "ink"], role="document")
    cosines = first @ then.T
    return float(cosines.diagonal().mean() - cosines.mean())


def test_a_taught_encoder_is_an_encoder_that_tells_what_follows(shop, tmp_path, minilm):
    made = taught(shop, tmp_path / "taught", QUICK.model_copy(update={"epochs": 20}))
    encoder = open_encoder(str(made.path))
    assert made.kind == TAUGHT
    assert made.inputs == {"dataset": shop.fingerprint, "encoder": minilm.fingerprint}
    assert encoder.prefixes == Prefixes()
    assert contrast(encoder) > contrast(minilm) + 0.1
    assert not (made.path / "checkpoints").exists()


def test_the_catalogues_vectors_lie_beside_it(shop, tmp_path):
    made = taught(shop, tmp_path / "taught")
    titles = [item.title for item in shop.catalogue("fair")]
    expected = open_encoder(str(made.path)).encode(titles, role="document")
    vectors, asking = np.load(made.path / VECTORS)
    assert vectors == pytest.approx(expected, abs=1e-6)
    turn = np.linalg.lstsq(vectors, asking, rcond=None)[0]
    assert asking == pytest.approx(vectors @ turn, abs=1e-4)
    assert not np.allclose(asking, vectors, atol=1e-4)


def test_a_purchase_asks_for_what_follows_and_not_for_what_precedes(shop, tmp_path):
    made = taught(shop, tmp_path / "taught", QUICK.model_copy(update={"epochs": 20}))
    vectors, asking = np.load(made.path / VECTORS)
    places = {item.title: row for row, item in enumerate(shop.catalogue("fair"))}
    first, then = ([places[title] for title in TITLES[n::3]] for n in (0, 1))
    forth = (asking[first] * vectors[then]).sum(axis=1).mean()
    back = (asking[then] * vectors[first]).sum(axis=1).mean()
    assert forth > back + 0.1


def test_the_loss_is_that_of_the_next_title_among_those_not_bought_yet(shop, tmp_path, minilm):
    """Two purchases make a user, the last one counting twice as much."""
    import torch

    from gloss.retrieval.tuning import _Taught as Taught

    module = Taught(minilm.model(), sorted(TITLES), QUICK, ASKED).eval()
    turn = np.random.default_rng(0).normal(size=(384, 384)).astype(np.float32) / 20
    module.turn.data = torch.from_numpy(turn)
    vectors = minilm.encode(sorted(TITLES), role="document")
    rows = [4, 7, 1, 9]
    with torch.no_grad():
        loss = module.loss(
            torch.tensor([rows, [3, 5, 0, 0]]), torch.tensor([[1] * 4, [1, 1, 0, 0]]) > 0
        )
    users = [
        vectors[4],
        (vectors[4] + 2 * vectors[7]) / 3,
        (vectors[7] + 2 * vectors[1]) / 3,
        vectors[3],
    ]
    scores = 20 * np.array(users) @ turn @ vectors.T
    wanted = scores[range(4), [7, 1, 9, 5]]
    for user, bought in enumerate(([4], [4, 7], [4, 7, 1], [3])):
        scores[user, bought] = -np.inf
    assert float(loss) == pytest.approx((np.log(np.exp(scores).sum(1)) - wanted).mean(), abs=1e-4)


def test_several_threads_leave_the_same_gradients(minilm):
    """With steps large enough for torch to share them out."""
    import torch

    from gloss.retrieval.tuning import _Taught as Taught

    module = Taught(minilm.model(), sorted(TITLES), QUICK, ASKED).eval()
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, len(TITLES), (40, 9)))

    def gradients() -> list[torch.Tensor]:
        module.zero_grad()
        module.loss(rows, torch.ones_like(rows) > 0).backward()
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
    whole = taught(shop, tmp_path / "whole", settings)
    with pytest.raises(Killed):
        taught(shop, tmp_path / "killed", settings, progress=killed_at(2))
    assert taught(shop, tmp_path / "killed", settings).fingerprint == whole.fingerprint
    assert taught(shop, tmp_path / "other", settings, seed=1).fingerprint != whole.fingerprint


def test_what_cannot_be_learnt_from_is_named(tmp_path):
    lonely = shop_of(tmp_path / "lonely", purchases=1)
    with pytest.raises(InputError, match="no user has two purchases"):
        taught(lonely, tmp_path / "taught")
    with pytest.raises(ConfigError, match="no encoder 'none'"):
        taught(lonely, tmp_path / "taught", encoder="none")
