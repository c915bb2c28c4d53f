"""Teach a sentence encoder what is bought after what: contrastive fine-tuning on title pairs.

A pair is the titles of two purchases in a row, from the histories that may be trained on. Within a
batch every other pair's second title is a negative (van den Oord et al., 2018), by
sentence-transformers' own trainer. Knows data sets and encoders; no index.

    an ordinary sentence-transformers folder          modules.json, model.safetensors, …
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from gloss.artifacts import creating
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError, MissingExtraError
from gloss.progress import Progress, silent
from gloss.retrieval.encoders import open_encoder

__all__ = ["KIND", "title_pairs", "tune_encoder"]

KIND = "encoder"

_SCRATCH = "trainer"
_SCALE = 20.0
"""Cosines are multiplied by this before the softmax, as sentence-transformers has it."""


def title_pairs(histories: Sequence[History], catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """The titles of every two purchases in a row that differ."""
    for history in histories:
        titles = [catalogue.title(item) for item in history.items]
        yield from (pair for pair in pairwise(titles) if pair[0] != pair[1])


def tune_encoder(
    dataset: Dataset,
    out: Path,
    *,
    encoder: str,
    titles: TitleStyle = "fair",
    pairs: int = 10_000,
    batch: int = 64,
    learning_rate: float = 2e-5,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Fine-tune an encoder on pairs drawn from the training histories: the folder `out`.

    One pass over `pairs` of them, in batches of `batch`. The folder is an encoder as
    `open_encoder` takes it, and keeps the prefixes. progress counts steps. Raises InputError when
    there are fewer pairs than a batch, and what `open_encoder` raises.
    """
    start = open_encoder(encoder)
    if batch < 2:
        raise ConfigError(f"a batch of {batch} has no negatives: at least 2")
    found = list(title_pairs(dataset.train(), dataset.catalogue(titles)))
    drawn = random.Random(seed).sample(found, min(pairs, len(found)))
    if len(drawn) < batch:
        raise InputError(f"{len(drawn)} pairs of purchases are fewer than a batch of {batch}")
    config = {
        "encoder": encoder,
        "titles": titles,
        "pairs": pairs,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    inputs = {"dataset": dataset.fingerprint, "encoder": start.fingerprint}
    with creating(out, kind=KIND, config=config, inputs=inputs, scratch=(_SCRATCH,)) as draft:
        model = start.model()
        before, after = start.prefixes.query, start.prefixes.document
        rows = {
            "anchor": [before + one for one, _ in drawn],
            "positive": [after + two for _, two in drawn],
        }
        steps, loss = _train(
            model, rows, draft.path / _SCRATCH, batch, learning_rate, seed, progress=progress
        )
        model.prompts = {"query": before, "document": after}
        model.save_pretrained(str(draft.path), create_model_card=False)
        draft.summary.update({"pairs": len(drawn), "steps": steps, "mean loss": round(loss, 4)})


def _train(
    model: Any,
    rows: dict[str, list[str]],
    scratch: Path,
    batch: int,
    learning_rate: float,
    seed: int,
    *,
    progress: Progress,
) -> tuple[int, float]:
    """Train in place; returns the number of steps and their mean loss."""
    if find_spec("datasets") is None or find_spec("accelerate") is None:
        raise MissingExtraError("fine-tuning an encoder", "tune")
    library = import_module("sentence_transformers")
    losses = import_module("sentence_transformers.sentence_transformer.losses")
    rows_of = import_module("datasets").Dataset.from_dict
    arguments = library.SentenceTransformerTrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=1,
        per_device_train_batch_size=batch,
        learning_rate=learning_rate,
        warmup_steps=0.1,
        batch_sampler="no_duplicates",
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )
    model.model_card_data.widget = [{}]  # else examples for a model card are drawn, with a bar
    trainer = library.SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=rows_of(rows),
        loss=losses.MultipleNegativesRankingLoss(model, scale=_SCALE),
        callbacks=[_told(progress)],
    )
    trainer.remove_callback(import_module("transformers").PrinterCallback)
    done = trainer.train()
    if not done.global_step:
        raise InputError(f"too few different titles for a batch of {batch} pairs")
    return done.global_step, float(done.training_loss)


def _told(progress: Progress) -> Any:
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Told()
