from __future__ import annotations

import numpy as np
import pytest

from gloss.config import Distillation, ScratchModel, Training
from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.language.packing import NO_LOSS, Document, Pack
from gloss.language.scratch.distillation import with_teacher
from gloss.language.scratch.documents import Documents
from gloss.language.scratch.llama import new_model, title_loss
from gloss.language.scratch.packed_training import train_on_packs
from gloss.language.scratch.tokenizer import train_tokenizer

TITLES = ("Red kite", "Blue kite with a long tail", "Ball", "Tea, 50 g", "Tea, 100 g")
CATALOGUE = Catalogue(Item(f"b{row}", title) for row, title in enumerate(TITLES))
TOKENIZER = train_tokenizer(TITLES, vocabulary=300)
PIECES = [[*ids, 0] for ids in TOKENIZER(list(TITLES))["input_ids"]]
HISTORIES = [History(f"u{n}", ("b0", "b1", "b2")) for n in range(300)]


class Successor:
    """Draws the item after the last one, of five in a circle."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[int]], tuple[int, ...]]] = []

    def draw(self, histories, titles, *, seed):
        self.asked.append(([history.tolist() for history in histories], tuple(seed)))
        lasts = np.array([history[-1] for history in histories])
        return (lasts[:, None] + np.arange(1, titles + 1)) % 5


def documents(context: int = 1000) -> Documents:
    return Documents(CATALOGUE, TOKENIZER, context=context)


def written(*rows: int) -> list[int]:
    return [0, *(token for row in rows for token in PIECES[row])]


def epoch(teacher: Successor, number: int = 0, **settings) -> list[Document]:
    of_histories = documents().epochs(HISTORIES, Training(random_start=0), seed=3)
    made = with_teacher(
        of_histories,
        documents(),
        HISTORIES,
        teacher,
        Distillation(teachers=("any",), **settings),
        seed=3,
    )
    return made(number)


def test_what_the_teacher_draws_stands_behind_a_history_and_alone_carries_loss():
    (made,) = documents().continued([np.array([0, 2])], np.array([[4, 3]]))
    assert made.tokens.tolist() == written(0, 2, 4, 3)
    assert made.loss_tokens == len(PIECES[4]) + len(PIECES[3])
    pack = Pack.of_documents([made])
    carries_loss = pack.targets != NO_LOSS
    assert pack.targets[carries_loss].tolist() == [*PIECES[4], *PIECES[3]]


def test_what_the_context_does_not_hold_is_the_oldest():
    """Room for the newline, the two drawn titles and the purchase before them."""
    room = 1 + len(PIECES[2]) + len(PIECES[4]) + len(PIECES[3])
    (made,) = documents(room + 1).continued([np.array([0, 2])], np.array([[4, 3]]))
    assert made.tokens.tolist() == written(2, 4, 3)
    (made,) = documents(room - len(PIECES[2]) + 1).continued([np.array([2])], np.array([[4, 3]]))
    assert made.tokens.tolist() == written(4, 3)
    assert made.loss_tokens == len(made) - 1


def test_an_epoch_continues_a_part_of_every_history():
    teacher = Successor()
    made = epoch(teacher, histories=0.0, titles=2)
    ((parts, _),) = teacher.asked
    assert len(made) == len(parts) == 300
    assert {tuple(part) for part in parts} == {(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)}
    for part, document in zip(parts, made, strict=True):
        last = part[-1]
        assert document.tokens.tolist() == written(*part, (last + 1) % 5, (last + 2) % 5)


def test_half_of_the_parts_and_a_third_of_the_rest_end_where_the_history_ends():
    teacher = Successor()
    epoch(teacher, histories=0.0)
    ((parts, _),) = teacher.asked
    ends = np.mean([part[-1] == 2 for part in parts])
    assert ends == pytest.approx(1 / 2 + 1 / 2 / 3, abs=0.08)


@pytest.mark.parametrize("share", [0.0, 0.33, 1.0])
def test_a_share_of_the_histories_is_read_as_they_are(share):
    made = epoch(Successor(), histories=share)
    whole = [document for document in made if document.loss_tokens == len(document) - 1]
    assert len(made) == 300 + len(whole)
    assert len(whole) / 300 == pytest.approx(share, abs=0.08)
    assert all(document.tokens.tolist() == written(0, 1, 2) for document in whole)


def test_epochs_differ_and_the_same_one_comes_again():
    teacher = Successor()
    first, again, second = (
        [each.tokens.tolist() for each in epoch(teacher, number)] for number in (0, 0, 1)
    )
    assert first == again
    assert first != second
    assert [seed for _, seed in teacher.asked] == [(3, 0), (3, 0), (3, 1)]


def test_the_model_learns_what_the_teacher_says_and_no_history_does(tmp_path):
    """Histories go 0 1 2 and end; what follows 2 only the teacher knows."""
    asked = documents().continued([np.array([2])], np.array([[3]]))
    examples = [(document.tokens, document.loss_tokens) for document in asked]
    settings = Training(epochs=20, batch_tokens=600, learning_rate=0.02, warmup_steps=3, dropout=0)
    shape = ScratchModel(vocabulary=300, layers=1, width=32, heads=2, context=256)
    few, told = HISTORIES[:40], Distillation(teachers=("any",), titles=2)
    alone = documents().epochs(few, Training(random_start=0), seed=0)
    taught = with_teacher(alone, documents(), few, Successor(), told, seed=0)
    losses = []
    for read in (alone, taught):
        model = new_model(shape, vocabulary=len(TOKENIZER), end=0, dropout=0.0, seed=0)
        train_on_packs(model, read, settings, seed=0, pad=0, checkpoint=tmp_path / "checkpoint.pt")
        (tmp_path / "checkpoint.pt").unlink()
        losses.append(title_loss(model, examples))
    assert losses[1] < 2 < 10 < losses[0]
