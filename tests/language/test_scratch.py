from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gloss.config import ScratchModel, TableData, Training
from gloss.data.catalogue import Catalogue, Item
from gloss.data.dataset import Dataset
from gloss.data.histories import Example, History
from gloss.errors import ConfigError, InputError
from gloss.experiment import stages
from gloss.language.scratch.documents import Documents
from gloss.language.scratch.llama import title_loss
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.language.scratch.train import train_from_zero

TITLES = ("Red kite", "Blue kite with a long tail", "Ball", "Tea, 50 g", "Tea, 100 g")
CATALOGUE = Catalogue(Item(f"b{row}", title) for row, title in enumerate(TITLES))
TOKENIZER = train_tokenizer(TITLES, vocabulary=300)
PIECES = [[*ids, 0] for ids in TOKENIZER(list(TITLES))["input_ids"]]


def documents(context: int = 1000) -> Documents:
    return Documents(CATALOGUE, TOKENIZER, context=context)


def test_a_document_is_one_title_a_line():
    text = TOKENIZER.decode(documents().of(["b0", "b2", "b0"]).tolist())
    assert text == "\nRed kite\nBall\nRed kite\n"


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 60))
def test_a_document_holds_the_latest_titles_that_fit_whole(rows, context):
    document = documents(context).of([f"b{row}" for row in rows]).tolist()
    assert 1 <= len(document) <= context
    rows = [row for row in rows if len(PIECES[row]) < context]  # others take nobody's place
    wholes = [[0, *(t for row in rows[n:] for t in PIECES[row])] for n in range(len(rows) + 1)]
    assert document == next(whole for whole in wholes if len(whole) <= context)


def epoch(histories, number: int = 0, *, context: int = 1000, **changes) -> list[list[int]]:
    """The documents of an epoch, of histories that stay as they are but for `changes`."""
    settings = Training(**{"random_start": 0, **changes})
    made = documents(context).epochs(histories, settings, seed=0)(number)
    assert all(document.loss_tokens == len(document) - 1 for document in made)
    return [document.tokens.tolist() for document in made]


def written(*rows: int) -> list[int]:
    return [0, *(token for row in rows for token in PIECES[row])]


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=7), min_size=1, max_size=9))
def test_an_epoch_holds_every_history_that_has_room(histories):
    read = [History(f"u{n}", tuple(f"b{row}" for row in rows)) for n, rows in enumerate(histories)]
    for context in (12, 30, 1000):
        expected = [documents(context).of(history.items).tolist() for history in read]
        assert epoch(read, context=context) == [each for each in expected if len(each) > 1]


def test_a_share_of_the_users_begins_in_the_middle():
    histories = [History(f"u{n}", ("b0", "b1", "b2")) for n in range(2000)]
    for share, whole in ((0.0, 1.0), (0.5, 0.5 + 0.5 / 3), (1.0, 1 / 3)):
        made = epoch(histories, random_start=share)
        assert {tuple(each) for each in made} <= {
            tuple(written(*range(first, 3))) for first in range(3)
        }
        assert np.mean([each == written(0, 1, 2) for each in made]) == pytest.approx(
            whole, abs=0.04
        )


def test_a_share_of_the_users_is_read_backwards():
    histories = [History(f"u{n}", ("b0", "b1", "b2")) for n in range(2000)]
    made = epoch(histories, reversed=0.3)
    assert all(each in (written(0, 1, 2), written(2, 1, 0)) for each in made)
    assert np.mean([each == written(2, 1, 0) for each in made]) == pytest.approx(0.3, abs=0.04)


def test_a_share_of_the_purchases_is_left_out_and_the_last_one_stays():
    histories = [History(f"u{n}", ("b0", "b1", "b2")) for n in range(2000)]
    made = epoch(histories, dropped=0.3)
    assert all(each[-len(PIECES[2]) :] == PIECES[2] for each in made)
    found = np.mean([each == written(0, 1, 2) for each in made])
    assert found == pytest.approx(0.49, abs=0.04)


def test_purchases_change_places_with_those_nearby():
    histories = [History("u", tuple(f"b{row}" for row in range(5)))] * 500
    swapped = [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [0, 1, 2, 4, 3], [1, 0, 3, 2, 4]]
    made = epoch(histories, jitter=1.5)
    assert all(written(*order) in made for order in swapped)
    assert written(2, 0, 1, 3, 4) not in made  # two places are too far


def test_epochs_differ_and_are_the_same_each_time():
    histories = [History(f"u{n}", ("b0", "b1", "b2")) for n in range(50)]
    changes = {"random_start": 0.5, "dropped": 0.2, "reversed": 0.5, "jitter": 2.0}
    assert epoch(histories, 3, **changes) == epoch(histories, 3, **changes)
    assert epoch(histories, 3, **changes) != epoch(histories, 4, **changes)


def test_documents_without_a_title_are_not_trained_on():
    longest = max(map(len, PIECES))
    histories = [History("u", ("b0", "b1")), History("v", ("b1", "b0")), History("w", ("b1",))]
    assert epoch(histories, context=longest) == [written(0), written(0)]  # b1 is left out
    assert documents(longest).examples([Example("u", ("b0",), "b1")]) == []


def test_the_title_loss_is_minus_the_log_probability_of_the_target(language, dataset, catalogue):
    read = Documents(catalogue, language.tokenizer, context=384)
    examples = dataset.examples("test", limit=70)
    total = 0.0
    for example in examples:
        tokens = torch.tensor(read.of((*example.history, example.target)))[None].long()
        length = len(language.tokenizer(catalogue.title(example.target))["input_ids"]) + 1
        with torch.inference_mode():
            chances = language.model(tokens).logits[0].log_softmax(-1)
        wanted = tokens[0, -length:]
        total -= float(chances[-length - 1 : -1].gather(1, wanted[:, None]).sum())
    for batch in (1, 32):
        loss = title_loss(language.model, read.examples(examples), batch_examples=batch)
        assert loss == pytest.approx(total / len(examples), rel=1e-4)


def test_the_trained_model_beats_popularity(language, dataset, catalogue):
    """It has learned something: a title costs less than under the frequencies of the titles."""
    read = Documents(catalogue, language.tokenizer, context=384)
    examples = dataset.examples("test")
    loss = title_loss(language.model, read.examples(examples))
    counts = dict.fromkeys([item.id for item in catalogue], 1)
    for history in dataset.train():
        for item in history.items:
            counts[item] += 1
    total = sum(counts.values())
    popular = np.mean([-np.log(counts[e.target] / total) for e in examples])
    assert loss < popular


def table(tmp_path, lines: str, items: str = "item,title\na,Kite\nb,Ball\nc,Tea\n") -> Dataset:
    (tmp_path / "log.csv").write_text(lines)
    (tmp_path / "items.csv").write_text(items)
    settings = TableData(
        source="table", interactions=tmp_path / "log.csv", items=tmp_path / "items.csv"
    )
    return Dataset.load(stages.prepare(settings, tmp_path / "data").path)


def train(data: Dataset, tmp_path, **shape):
    return train_from_zero(
        data,
        titles="fair",
        model=ScratchModel(**{"vocabulary": 300, "layers": 1, "width": 16, "heads": 2, **shape}),
        training=Training(epochs=1, warmup_steps=0),
        seed=0,
        checkpoint=tmp_path / "checkpoint.pt",
    )


def test_a_context_that_holds_no_title_is_an_error(tmp_path):
    data = table(tmp_path, "user,item,time\nu,a,1\nu,b,2\nu,c,3\n")
    with pytest.raises(ConfigError, match="context"):
        train(data, tmp_path, context=2)


def test_data_without_a_history_to_learn_from_are_an_error(tmp_path):
    data = table(tmp_path, "user,item,time\nu,a,1\nv,b,2\n")
    with pytest.raises(InputError, match="nothing to train on"):
        train(data, tmp_path)


def test_a_title_longer_than_the_context_leaves_weights_that_are_numbers(tmp_path):
    word = "".join(chr(0x4E00 + n) for n in range(500))
    items = f"item,title\na,Kite\nb,{word}\nc,Tea\n"
    data = table(tmp_path, "user,item,time\nu,a,1\nu,b,2\nu,c,3\nv,b,1\nv,b,2\nv,b,3\n", items)
    language, record = train(data, tmp_path, context=64)
    assert all(p.isfinite().all() for p in language.model.parameters())
    assert np.isfinite(record.losses[0]["loss"])
