"""The stages `train` and `generate`: from a data set to a model, and to what it writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from gloss.artifacts import Artifact, Draft, creating, fingerprint_of, fingerprint_of_file
from gloss.config import Decoding, ScratchModel, Training
from gloss.data.dataset import Dataset, SplitName
from gloss.data.titles import TitleStyle
from gloss.decoding import generations as generated
from gloss.decoding.generations import to_row
from gloss.errors import MissingExtraError
from gloss.progress import Progress, silent
from gloss.stages.making import made_once

if TYPE_CHECKING:
    from gloss.decoding.generator import TransformersGenerator
    from gloss.prompts import Prompt

__all__ = ["estimate", "generate", "train"]

_PROBED = 64
"""Users whose time an estimate is made from."""


def train(
    dataset: Path,
    out: Path,
    *,
    model: ScratchModel,
    training: Training,
    titles: TitleStyle,
    seed: int,
    progress: Progress = silent,
) -> Artifact:
    """Train a language model on a data set: the model folder at `out`."""
    _require_torch("training")
    from gloss.language.loading import KIND, save_language_model
    from gloss.language.scratch import train_from_zero

    data = Dataset.load(dataset)
    config = {
        "titles": titles,
        "seed": seed,
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
    }
    inputs = {"dataset": data.fingerprint}

    def make() -> None:
        scratch = ("checkpoint.pt", "checkpoint.tmp")
        with creating(out, kind=KIND, config=config, inputs=inputs, scratch=scratch) as draft:
            language, record = train_from_zero(
                data,
                titles=titles,
                model=model,
                training=training,
                seed=seed,
                checkpoint=draft.path / scratch[0],
                progress=progress,
            )
            save_language_model(draft, language)
            draft.write_lines("losses.jsonl", list(record.losses))
            draft.summary.update(
                {
                    "parameters": language.model.num_parameters(),
                    "steps": record.steps,
                    "tokens": record.tokens,
                    **record.losses[-1],
                }
            )

    return made_once(out, KIND, config, inputs, make)


def generate(
    model: Path,
    dataset: Path,
    out: Path,
    *,
    split: SplitName,
    settings: Decoding,
    titles: TitleStyle = "fair",
    limit_users: int | None = None,
    progress: Progress = silent,
) -> Artifact:
    """Let a model write titles for every user of a split: the generations at `out`.

    `titles` counts for foreign models only; ours remember the style that they were trained with.
    Work is done in shards of `settings.shard_users` users; an interrupted run redoes one at most.
    """
    _require_torch("generating")
    data = Dataset.load(dataset)
    ours, titles = _model_for(data, model, titles)
    config = {
        "split": split,
        "titles": titles,
        "limit_users": limit_users,
        **settings.model_dump(mode="json"),
    }
    weights = ours.fingerprint if ours else _folder_fingerprint(model)
    inputs = {"dataset": data.fingerprint, "model": weights}

    def make() -> None:
        generator, prompts = _generator_for(data, model, settings, titles, split, limit_users)
        with creating(out, kind=generated.KIND, config=config, inputs=inputs) as draft:
            _write_shards(draft, generator, prompts, settings.shard_users, progress)
            draft.summary["users"] = len(prompts)
            draft.summary["purchases dropped from prompts"] = sum(p.dropped for p in prompts)

    return made_once(out, generated.KIND, config, inputs, make)


def estimate(
    model: Path,
    dataset: Path,
    *,
    split: SplitName,
    settings: Decoding,
    titles: TitleStyle = "fair",
    limit_users: int | None = None,
) -> dict[str, int]:
    """What `generate` would do: users, tokens, and about how many seconds and how much memory.

    Seconds and memory are measured on a few users, the longest prompt among them; memory is the
    largest that this process (on a GPU: its device) has held.
    """
    _require_torch("generating")
    data = Dataset.load(dataset)
    _, titles = _model_for(data, model, titles)
    generator, prompts = _generator_for(data, model, settings, titles, split, limit_users)
    lengths = [generator.count_tokens(prompt.text) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lengths.__getitem__)
    few = [prompts[place] for place in by_length[:: -max(1, len(prompts) // _PROBED)]]
    generator.generate(few[:2])
    started = time.monotonic()
    generator.generate(few)
    seconds = (time.monotonic() - started) * len(prompts) / max(1, len(few))
    return {
        "users": len(prompts),
        "prompt tokens": sum(lengths),
        "longest prompt": max(lengths, default=0),
        "new tokens at most": len(prompts) * generator.tokens_a_user(),
        "about seconds": round(seconds),
        "about megabytes": generator.peak_megabytes(),
    }


def _model_for(
    data: Dataset, model: Path, titles: TitleStyle
) -> tuple[Artifact | None, TitleStyle]:
    """Our model's manifest, if it is ours and of these data, and the titles that it speaks."""
    from gloss.language.loading import model_artifact

    ours = model_artifact(model)
    if ours is None:
        return None, titles
    ours.require_input("dataset", data.fingerprint, f"the data set {data.path}")
    return ours, ours.config["titles"]


def _generator_for(
    data: Dataset,
    model: Path,
    settings: Decoding,
    titles: TitleStyle,
    split: SplitName,
    limit_users: int | None,
) -> tuple[TransformersGenerator, list[Prompt]]:
    """The loaded model, and the prompts of the users who are asked."""
    from gloss.decoding.generator import TransformersGenerator
    from gloss.language.loading import load_language_model

    catalogue = data.catalogue(titles)
    examples = data.examples(split, limit=limit_users)
    generator = TransformersGenerator(load_language_model(model), settings, catalogue)
    return generator, generator.prompt_builder().build_all(examples, catalogue)


def _write_shards(
    draft: Draft,
    generator: TransformersGenerator,
    prompts: list[Prompt],
    size: int,
    progress: Progress,
) -> None:
    """One file for each range of users; a file that is there is whole and stays."""
    for number, first in enumerate(range(0, len(prompts), size)):
        name = f"part-{number:05d}.jsonl"
        shard = prompts[first : first + size]
        if not (draft.path / name).is_file():
            told = _part_of(progress, before=first, total=len(prompts))
            written = generator.generate(shard, progress=told)
            draft.write_lines(name, [to_row(generation) for generation in written])
        progress(first + len(shard), len(prompts))


def _part_of(progress: Progress, *, before: int, total: int) -> Progress:
    """Progress of a part, told as progress of the whole."""

    def told(done: int, _part: int | None, note: str = "") -> None:
        progress(before + done, total, note)

    return told


def _folder_fingerprint(folder: Path) -> str:
    files = sorted(file for file in Path(folder).iterdir() if file.is_file())
    return fingerprint_of(*(part for f in files for part in (f.name, fingerprint_of_file(f))))


def _require_torch(purpose: str) -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError(purpose, "train") from None
