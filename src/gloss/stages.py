"""The stages of an experiment, one function each: explicit paths in, one artefact out.

A stage whose artefact is already whole, with the same configuration and inputs, is not done again;
one that was interrupted goes on from where it stopped. The commands of `gloss` and `gloss run` are
made of these functions.

Needs torch for `train` and `generate` only, and imports it there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gloss.artifacts import (
    Artifact,
    Draft,
    creating,
    fingerprint_of,
    fingerprint_of_file,
    is_current,
    open_artifact,
)
from gloss.config import Decoding, ScratchModel, TableData, Training
from gloss.data import dataset as datasets
from gloss.data.dataset import Dataset, SplitName
from gloss.data.sources import DataSettings, located, name_of, read_source, source_files
from gloss.data.titles import TitleStyle
from gloss.decoding import generations as generated
from gloss.decoding.generations import read_generations, to_row
from gloss.errors import ConfigError, MissingExtraError
from gloss.evaluation import evaluate as evaluations
from gloss.evaluation.baselines import last_item_search, popularity
from gloss.evaluation.evaluate import save_evaluation
from gloss.evaluation.protocol import EvaluationProtocol, require_measurable
from gloss.evaluation.segments import SegmentBounds, default_bounds, segments_of
from gloss.progress import Progress, silent
from gloss.retrieval import indexing, rankings
from gloss.retrieval.fusion import fuse_all, ground, ungrounded
from gloss.retrieval.index import IndexSettings
from gloss.retrieval.indexing import load_index, save_index

if TYPE_CHECKING:
    from gloss.decoding.generator import TransformersGenerator
    from gloss.prompts import Prompt

__all__ = [
    "BASELINES",
    "baseline",
    "estimate",
    "evaluate",
    "generate",
    "index",
    "prepare",
    "rank",
    "train",
]

BASELINES = ("last-item", "popularity")

_PROBED = 64
"""Users whose time an estimate is made from."""

_PATHS = {"folder", "mirrors", "interactions", "items"}


def prepare(settings: DataSettings, out: Path, *, progress: Progress = silent) -> Artifact:
    """Read a source, clean it and split it: the data set at `out`."""
    settings = located(settings, progress=progress)
    config = {"name": name_of(settings), **settings.model_dump(mode="json", exclude=_PATHS)}
    inputs = source_files(settings)

    def make() -> None:
        least = settings.min_purchases if isinstance(settings, TableData) else 0
        data = datasets.prepare(
            read_source(settings),
            split=settings.split,
            min_purchases=least,
            keep_unbought=isinstance(settings, TableData),
        )
        datasets.save(data, out, config=config, inputs=inputs)

    return _stage(out, datasets.KIND, config, inputs, make)


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

    return _stage(out, KIND, config, inputs, make)


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

    return _stage(out, generated.KIND, config, inputs, make)


def estimate(
    model: Path,
    dataset: Path,
    *,
    split: SplitName,
    settings: Decoding,
    titles: TitleStyle = "fair",
    limit_users: int | None = None,
) -> dict[str, int]:
    """What `generate` would do: users, tokens, and about how many seconds, from a few users."""
    _require_torch("generating")
    data = Dataset.load(dataset)
    _, titles = _model_for(data, model, titles)
    generator, prompts = _generator_for(data, model, settings, titles, split, limit_users)
    lengths = [generator.count_tokens(prompt.text) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lengths.__getitem__)
    few = [prompts[place] for place in by_length[:: max(1, len(prompts) // _PROBED)]]
    generator.generate(few[:2])
    started = time.monotonic()
    generator.generate(few)
    seconds = (time.monotonic() - started) * len(prompts) / max(1, len(few))
    return {
        "users": len(prompts),
        "prompt tokens": sum(lengths),
        "longest prompt": max(lengths, default=0),
        "new tokens at most": len(prompts) * generator.steps * settings.beams,
        "about seconds": round(seconds),
    }


def index(dataset: Path, out: Path, *, settings: IndexSettings) -> Artifact:
    """Index the catalogue of a data set: the index at `out`."""
    inputs = {"dataset": Dataset.load(dataset).fingerprint}

    def make() -> None:
        save_index(Dataset.load(dataset), out, settings)

    return _stage(out, indexing.KIND, asdict(settings), inputs, make)


def rank(generations: Path, index: Path, out: Path, *, protocol: EvaluationProtocol) -> Artifact:
    """Find the items that generated titles mean: the ranking at `out`.

    `generations` is our artefact or the research repository's JSON.
    """
    found = load_index(index)
    source, split = _generations_source(generations, found.artifact)
    config = {
        "split": split,
        "per_query": protocol.per_query,
        "fusion": protocol.fusion,
        "length": protocol.length,
        "exclude_seen": protocol.exclude_seen,
    }
    inputs = {
        "dataset": found.artifact.inputs["dataset"],
        "generations": source,
        "index": found.fingerprint,
    }

    def make() -> None:
        written = read_generations(generations)
        hits = ground(written, found.retriever, per_query=protocol.per_query)
        lists = fuse_all(
            written,
            hits,
            rule=protocol.fusion,
            length=protocol.length,
            exclude_seen=protocol.exclude_seen,
        )
        queries = sum(len(each.queries) for each in written)
        summary = {"queries": queries, "queries that found nothing": ungrounded(written, hits)}
        rankings.save_rankings(out, lists, config=config, inputs=inputs, summary=summary)

    return _stage(out, rankings.KIND, config, inputs, make)


def baseline(
    name: str,
    dataset: Path,
    out: Path,
    *,
    protocol: EvaluationProtocol,
    split: SplitName = "test",
    index: Path | None = None,
    limit_users: int | None = None,
) -> Artifact:
    """Rank without a language model, by "last-item" search or "popularity": the ranking at `out`.

    Last-item search takes an index, or builds the protocol's own in memory.
    """
    if name not in BASELINES:
        raise ConfigError(f"unknown baseline {name!r}, known are {', '.join(BASELINES)}")
    data = Dataset.load(dataset)
    found = load_index(index) if index else None
    config = {
        "baseline": name,
        "split": split,
        "titles": protocol.title_style,
        "length": protocol.length,
        "exclude_seen": protocol.exclude_seen,
        "limit_users": limit_users,
        "index": asdict(found.settings if found else protocol.index_settings()),
    }
    inputs = {"dataset": data.fingerprint}
    if found:
        found.artifact.require_input("dataset", data.fingerprint, f"the data set {dataset}")
        inputs["index"] = found.fingerprint

    def make() -> None:
        catalogue = found.catalogue if found else data.catalogue(protocol.title_style)
        examples = data.examples(split, limit=limit_users)
        length, exclude = protocol.length, protocol.exclude_seen
        if name == "popularity":
            lists = popularity(
                data.train(), examples, catalogue, length=length, exclude_seen=exclude
            )
        else:
            retriever = (
                found.retriever
                if found
                else indexing.build_index(catalogue, protocol.index_settings())
            )
            lists = last_item_search(
                examples, catalogue, retriever, length=length, exclude_seen=exclude
            )
        rankings.save_rankings(out, lists, config=config, inputs=inputs, summary={})

    return _stage(out, rankings.KIND, config, inputs, make)


def evaluate(
    ranking: Path,
    dataset: Path,
    out: Path,
    *,
    protocol: EvaluationProtocol,
    bounds: SegmentBounds | None = None,
) -> Artifact:
    """Measure a ranking against what was bought next: the evaluation at `out`."""
    data = Dataset.load(dataset)
    made, lists = rankings.load_rankings(ranking)
    made.require_input("dataset", data.fingerprint, f"the data set {dataset}")
    require_measurable(protocol.cutoffs, length=made.config["length"])
    bounds = bounds or default_bounds(data.name)
    config = {
        "protocol": protocol.name,
        "split": made.config["split"],
        "baseline": made.config.get("baseline"),
        "cutoffs": protocol.cutoffs,
        "bounds": asdict(bounds),
    }
    inputs = {"dataset": data.fingerprint, "ranking": made.fingerprint}

    def make() -> None:
        examples = data.examples(made.config["split"])
        result = evaluations.evaluate(lists, examples, protocol.cutoffs, protocol=protocol.name)
        save_evaluation(
            out,
            result,
            segments=segments_of(examples[: len(result.users)], bounds),
            config=config,
            inputs=inputs,
            summary={},
        )

    return _stage(out, evaluations.KIND, config, inputs, make)


def _stage(
    out: Path,
    kind: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    make: Callable[[], None],
) -> Artifact:
    """Make the artefact unless it stands there already; open it."""
    if not is_current(out, kind=kind, config=config, inputs=inputs):
        make()
    return open_artifact(out, kind)


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


def _generations_source(path: Path, index: Artifact) -> tuple[str, str]:
    """The fingerprint of generations and the split they are for; they must fit the index."""
    if Path(path).is_file():
        return fingerprint_of_file(path), "test"
    artifact = open_artifact(path, generated.KIND)
    artifact.require_input(
        "dataset", index.inputs["dataset"], f"the index {index.path}, whose data set is another"
    )
    return artifact.fingerprint, artifact.config["split"]


def _folder_fingerprint(folder: Path) -> str:
    files = sorted(file for file in Path(folder).iterdir() if file.is_file())
    return fingerprint_of(*(part for f in files for part in (f.name, fingerprint_of_file(f))))


def _require_torch(purpose: str) -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError(purpose, "train") from None
