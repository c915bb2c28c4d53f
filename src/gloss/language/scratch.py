"""A language model from zero: a byte-level BPE of the catalogue and a small Llama.

The tokenizer knows one special token, the newline. Titles never hold one (they are split at white
space), so a document is plain text, one title a line; the newline begins it and ends every title,
and no title, however hostile, can be mistaken for a special token.

Knows titles and shapes; the training loop is next door.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from gloss.language.training import TrainingRecord, stack, train
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

    def epoch(number: int) -> list[np.ndarray]:
        rng = np.random.default_rng((seed, number, 0))
        return documents.training(histories, random_start=training.random_start, rng=rng)

    record = train(
        llama,
        epoch,
        training,
        seed=seed,
        pad=documents.end,
        checkpoint=checkpoint,
        validate=(lambda m: title_loss(m, questions, pad=documents.end)) if questions else None,
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
        self._pieces: Mapping[ItemId, np.ndarray] = {
            item.id: np.array([*ids, self.end], np.int32)
            for item, ids in zip(catalogue, titles["input_ids"], strict=True)
        }
        self.context = context

    def of(self, items: Sequence[ItemId]) -> np.ndarray:
        """The document of a history, int32 (tokens,)."""
        pieces: list[np.ndarray] = []
        used = 1
        for item in reversed(items):
            piece = self._pieces[item]
            used += len(piece)
            if used > self.context:
                break
            pieces.append(piece)
        return np.concatenate([np.array([self.end], np.int32), *reversed(pieces)])

    def require_room(self) -> None:
        """Raise ConfigError if every title is longer than the context."""
        shortest = 1 + min(map(len, self._pieces.values()))
        if shortest > self.context:
            raise ConfigError(
                f"a context of {self.context} tokens holds no title: the shortest takes {shortest}"
            )

    def training(
        self, histories: Sequence[History], *, random_start: float, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """One document a history; that share of them begins at a random purchase instead."""
        shortened = rng.random(len(histories)) < random_start
        starts = (rng.random(len(histories)) * [len(h.items) for h in histories]).astype(int)
        starts = np.where(shortened, starts, 0)
        made = [self.of(h.items[start:]) for h, start in zip(histories, starts, strict=True)]
        return [document for document in made if _holds_a_title(document)]

    def questions(self, examples: Sequence[Example]) -> list[tuple[np.ndarray, int]]:
        """For each example its document, target included, and how many tokens the target has."""
        asked = [
            (self.of((*example.history, example.target)), len(self._pieces[example.target]))
            for example in examples
        ]
        return [question for question in asked if _holds_a_title(question[0])]


def _holds_a_title(document: np.ndarray) -> bool:
    """Not where the latest title alone is longer than the context."""
    return len(document) > 1


@torch.inference_mode()
def title_loss(
    model: Any, questions: Sequence[tuple[np.ndarray, int]], *, pad: int, batch: int = 32
) -> float:
    """Mean of -log p(next title | history), in nats a title, end token included."""
    model.eval()
    total = 0.0
    ordered = sorted(questions, key=lambda question: len(question[0]))
    for first in range(0, len(ordered), batch):
        part = ordered[first : first + batch]
        tokens, real = stack([document for document, _ in part], pad, model.device)
        # A target is the end of its document: the last `length` real tokens of the row.
        left = real.flip(1).cumsum(1).flip(1)
        target = real & (left <= torch.tensor([[n] for _, n in part], device=model.device))
        hidden = model.model(input_ids=tokens[:, :-1]).last_hidden_state
        wanted = target[:, 1:]
        logits = model.lm_head(hidden[wanted]).float()
        total += float(
            torch.nn.functional.cross_entropy(logits, tokens[:, 1:][wanted], reduction="sum")
        )
    model.train()
    return total / len(questions)
