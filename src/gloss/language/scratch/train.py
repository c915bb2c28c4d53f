"""Training a language model from zero, or such a model further: data set in, tokenizer and Llama
out."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from gloss.config import Distillation, ScratchModel, Training
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.errors import InputError
from gloss.language.loading import LanguageModel
from gloss.language.scratch.distillation import Teacher, with_teacher
from gloss.language.scratch.documents import Documents
from gloss.language.scratch.llama import new_model, title_loss
from gloss.language.scratch.packed_training import train_on_packs
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.progress import Progress, silent
from gloss.prompts import TITLES_ONLY
from gloss.training.loop import TrainingRecord

__all__ = ["train_from_zero"]


_LOG = logging.getLogger(__name__)

_AS_SET = Distillation()


def train_from_zero(
    dataset: Dataset,
    *,
    titles: TitleStyle,
    model: ScratchModel,
    training: Training,
    seed: int,
    checkpoint: Path,
    teacher: Teacher | None = None,
    distillation: Distillation = _AS_SET,
    start: LanguageModel | None = None,
    progress: Progress = silent,
) -> tuple[LanguageModel, TrainingRecord]:
    """Train a tokenizer and a Llama on a data set's training histories.

    teacher: adds to the histories what it draws, as `distillation` says; its rows are those of the
    catalogue. start: a model from zero whose weights, changed in place, and whose tokenizer stand
    for new ones. Deterministic in the seed on a CPU; goes on from `checkpoint` if an interrupted
    run left one.
    Raises InputError without a history to learn from, ConfigError if no title fits the context.
    """
    catalogue = dataset.catalogue(titles)
    histories = dataset.train()
    if not histories:
        raise InputError("there is nothing to train on: no user has two purchases or more")
    if start:
        tokenizer = start.tokenizer
    else:
        tokenizer = train_tokenizer(catalogue.titles, vocabulary=model.vocabulary)
    documents = Documents(catalogue, tokenizer, context=model.context)
    documents.require_room()
    if long := documents.too_long():
        _LOG.warning(
            "warning: %s of %s items have titles too long for a context of %s tokens (%s, say): "
            "they are not written; a larger model.context holds them",
            f"{len(long):,}",
            f"{len(catalogue):,}",
            model.context,
            long[0],
        )
    if start:
        llama = start.model
    else:
        llama = new_model(
            model,
            vocabulary=len(tokenizer),
            end=documents.end,
            dropout=training.attention_dropout,
            seed=seed,
        )
    if torch.cuda.is_available():
        torch.nn.Module.to(llama, "cuda")
    held_out = documents.examples(dataset.examples("validation", limit=training.validation_users))
    of_epoch = documents.epochs(histories, training, seed=seed)
    if teacher:
        of_epoch = with_teacher(of_epoch, documents, histories, teacher, distillation, seed=seed)
    record = train_on_packs(
        llama,
        of_epoch,
        training,
        seed=seed,
        pad=documents.end,
        checkpoint=checkpoint,
        validate=(lambda trained: title_loss(trained, held_out)) if held_out else None,
        progress=progress,
    )
    return LanguageModel(llama, tokenizer, TITLES_ONLY), record
