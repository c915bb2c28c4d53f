"""A language model from zero: a byte-level BPE of the catalogue and a small Llama.

The tokenizer knows one special token, the newline. Titles never hold one (they are split at white
space), so a document is plain text, one title a line; the newline begins it and ends every title,
and no title, however hostile, can be mistaken for a special token.

Knows titles and shapes; the training loop is next door.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gloss.config import ScratchModel, Training
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.dataset import Dataset
from gloss.data.histories import Example, History
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError
from gloss.language.loading import LanguageModel
from gloss.language.packing import Pack
from gloss.language.scratch.loop import Epoch, TrainingRecord, train
from gloss.language.scratch.packed_llama import PackedLlama, attending_to_packs
from gloss.progress import Progress, silent
from gloss.prompts import TITLES_ONLY

__all__ = ["Documents", "new_model", "title_loss", "train_from_zero", "train_tokenizer"]

NEWLINE = "\n"


def train_from_zero(
    dataset: Dataset,
    *,
    titles: TitleStyle,
    model: ScratchModel,
    training: Training,
    seed: int,
    checkpoint: Path,
    progress: Progress = silent,
) -> tuple[LanguageModel, TrainingRecord]:
    """Train a tokenizer and a Llama on a data set's training histories.

    Deterministic in the seed on a CPU; goes on from `checkpoint` if an interrupted run left one.
    Raises InputError without a history to learn from, ConfigError if no title fits the context.
    """
    catalogue = dataset.catalogue(titles)
    histories = dataset.train()
    if not histories:
        raise InputError("there is nothing to train on: no user has two purchases or more")
    tokenizer = train_tokenizer(catalogue.titles, vocabulary=model.vocabulary)
    documents = Documents(catalogue, tokenizer, context=model.context)
    documents.require_room()
    llama = new_model(
        model,
        vocabulary=len(tokenizer),
        end=documents.end,
        dropout=training.attention_dropout,
        seed=seed,
    )
    if torch.cuda.is_available():
        torch.nn.Module.to(llama, "cuda")
    questions = documents.questions(dataset.examples("validation", limit=training.validation_users))

    record = train(
        llama,
        documents.epochs(histories, training, seed=seed),
        training,
        seed=seed,
        pad=documents.end,
        checkpoint=checkpoint,
        validate=(lambda m: title_loss(m, questions)) if questions else None,
        progress=progress,
    )
    return LanguageModel(llama, tokenizer, TITLES_ONLY), record


def train_tokenizer(titles: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` pieces, learned from titles.

    Any text can be encoded and comes back unchanged; beginning, end and padding are the newline.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    newline = AddedToken(NEWLINE, special=True, normalized=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[newline],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(titles, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=NEWLINE,
        eos_token=NEWLINE,
        pad_token=NEWLINE,
        clean_up_tokenization_spaces=False,
    )


def new_model(
    settings: ScratchModel, *, vocabulary: int, end: int, dropout: float, seed: int
) -> LlamaForCausalLM:
    """A Llama of the chosen size with random weights drawn from the seed.

    dropout: share of the attention weights dropped in training; the rest is the training loop's.
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.width,
        intermediate_size=settings.mlp_width or 4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        attention_dropout=dropout,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


class Documents:
    """Histories as token sequences: newline, then each title and a newline, latest titles kept.

    A document longer than `context` loses whole oldest titles, and is never cut inside one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tokenizer: PreTrainedTokenizerFast,
        *,
        context: int,
    ) -> None:
        self.end = int(tokenizer.eos_token_id)
        titles = tokenizer([item.title for item in catalogue], add_special_tokens=False)
        pieces = [np.array([*ids, self.end], np.int32) for ids in titles["input_ids"]]
        self._rows = {item.id: row for row, item in enumerate(catalogue)}
        # The titles' tokens one after the other: that of row i takes lengths[i] from starts[i] on.
        self._tokens = np.concatenate(pieces)
        self._lengths = np.array([len(piece) for piece in pieces])
        self._starts = self._lengths.cumsum() - self._lengths
        self.context = context

    def of(self, items: Sequence[ItemId]) -> np.ndarray:
        """The document of a history, int32 (tokens,)."""
        rows = np.array([self._rows[item] for item in items], int)
        (document,) = self._written(rows, np.zeros(len(rows), int), 1)
        return document

    def require_room(self) -> None:
        """Raise ConfigError if every title is longer than the context."""
        shortest = 1 + int(self._lengths.min())
        if shortest > self.context:
            raise ConfigError(
                f"a context of {self.context} tokens holds no title: the shortest takes {shortest}"
            )

    def epochs(self, histories: Sequence[History], settings: Training, *, seed: int) -> Epoch:
        """The documents of each epoch, one a history, changed as `settings` say.

        Histories of which the context holds no title have none.
        """
        rows = np.array([self._rows[item] for h in histories for item in h.items], int)
        lengths = np.array([len(h.items) for h in histories])

        def epoch(number: int) -> list[np.ndarray]:
            rng = np.random.default_rng((seed, number, 0))
            chosen, users = _changed(lengths, settings, rng)
            documents = self._written(rows[chosen], users, len(lengths))
            return [document for document in documents if _holds_a_title(document)]

        return epoch

    def questions(self, examples: Sequence[Example]) -> list[tuple[np.ndarray, int]]:
        """For each example its document, target included, and how many tokens the target has."""
        asked = [
            (
                self.of((*example.history, example.target)),
                int(self._lengths[self._rows[example.target]]),
            )
            for example in examples
        ]
        return [question for question in asked if _holds_a_title(question[0])]

    def _written(self, rows: np.ndarray, users: np.ndarray, count: int) -> list[np.ndarray]:
        """The documents of `count` users. rows, users: of each purchase, users in order."""
        lengths = self._lengths[rows]
        through = np.concatenate([[0], lengths.cumsum()])
        last = np.searchsorted(users, np.arange(count), side="right")
        fits = through[last][users] - through[:-1] < self.context
        rows, lengths, users = rows[fits], lengths[fits], users[fits]
        through = lengths.cumsum()
        # Each document begins with one more newline, and so do those before it.
        places = np.arange(lengths.sum()) + np.repeat(users + 1, lengths)
        read = np.arange(lengths.sum()) + np.repeat(
            self._starts[rows] - (through - lengths), lengths
        )
        tokens = np.full(len(places) + count, self.end, np.int32)
        tokens[places] = self._tokens[read]
        ends = np.append(0, through)[np.searchsorted(users, np.arange(count - 1), side="right")]
        return np.split(tokens, ends + np.arange(1, count))


def _holds_a_title(document: np.ndarray) -> bool:
    """Not where the latest title alone is longer than the context."""
    return len(document) > 1


def _changed(
    lengths: np.ndarray, settings: Training, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Which purchases an epoch reads, in its order, and whose they are.

    lengths: (users,) purchases of each, which stand one after the other; at least one stays.
    """
    count = len(lengths)
    users = np.repeat(np.arange(count), lengths)
    ages = np.arange(len(users)) - np.repeat(lengths.cumsum() - lengths, lengths)
    shortened = rng.random(count) < settings.random_start
    starts = np.where(shortened, (rng.random(count) * lengths).astype(int), 0)
    lasts = ages == np.repeat(lengths - 1, lengths)
    kept = (ages >= starts[users]) & (lasts | (rng.random(len(users)) >= settings.dropped))
    order = ages + settings.jitter * rng.random(len(users))
    order *= np.where(rng.random(count) < settings.reversed, -1, 1)[users]
    chosen = np.lexsort((order, users))
    chosen = chosen[kept[chosen]]
    return chosen, users[chosen]


@torch.inference_mode()
def title_loss(
    model: Any, questions: Sequence[tuple[np.ndarray, int]], *, batch: int = 256
) -> float:
    """Mean of -log p(next title | history), in nats a title, end token included."""
    reader = PackedLlama(model)
    was_training = model.training
    model.eval()
    total = 0.0
    with attending_to_packs(model):
        for first in range(0, len(questions), batch):
            documents, answers = zip(*questions[first : first + batch], strict=True)
            total += float(reader.loss(Pack.of(documents, answers), reduction="sum"))
    model.train(was_training)
    return total / len(questions)
