"""The stage `generate`: from a model and a data set to what the model writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gloss.artifacts import Artifact, Draft, Recipe, fingerprint_of, fingerprint_of_file
from gloss.config import AS_IT_IS, Decoding, Loading
from gloss.data import generations as generated
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset, SplitName
from gloss.data.generations import to_row
from gloss.data.titles import TitleStyle
from gloss.errors import require_extra
from gloss.experiment.stages.together import make_together
from gloss.progress import Progress, further, silent
from gloss.prompts import PAPER_TEMPLATE
from gloss.shards import HERE, Shard, Workers, shards_of
from gloss.training.processes import process_count, process_number

if TYPE_CHECKING:
    from gloss.decoding.completions import CompletionsServer
    from gloss.decoding.generator import Generator
    from gloss.prompts import Prompt, PromptTemplate

__all__ = ["estimate", "generate", "generate_by_server"]

_PROBED = 64
"""Users whose time an estimate is made from."""


def generate(
    model: Path,
    dataset: Path,
    out: Path,
    *,
    split: SplitName,
    settings: Decoding,
    titles: TitleStyle = "fair",
    limit_users: int | None = None,
    loading: Loading = AS_IT_IS,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> Artifact:
    """Let a model write titles for every user of a split: the generations at `out`.

    `titles` counts for foreign models only; ours remember the style that they were trained with.
    Work is done in shards of `settings.shard_users` users, which several processes deal out among
    themselves (`gloss.training.processes`); an interrupted run redoes one at most of each. workers:
    who does it; the bytes do not depend on how many they are.
    """
    require_extra("generating", "train", "torch", "transformers")
    data = Dataset.load(dataset)
    ours, titles = _model_for(data, model, titles)
    config = generated.GenerationsConfig(
        split=split,
        titles=titles,
        limit_users=limit_users,
        loading=None if loading == AS_IT_IS else loading,
        **settings.model_dump(),
    )
    inputs = {"dataset": data.fingerprint, **_weights_of(model, ours, loading)}

    def begin() -> Callable[[Draft], None]:
        writing, prompts = _writing_for(data, model, settings, titles, split, limit_users, loading)
        return partial(
            _fill,
            writing,
            shards_of(prompts, settings.shard_users),
            workers=workers,
            progress=progress,
        )

    return make_together(Recipe(generated.KIND, config.to_json(), inputs), out, begin)


def generate_by_server(
    server: CompletionsServer,
    dataset: Path,
    out: Path,
    *,
    split: SplitName,
    settings: Decoding,
    titles: TitleStyle = "fair",
    limit_users: int | None = None,
    context: int | None = None,
    progress: Progress = silent,
) -> Artifact:
    """As `generate`, by a server of the OpenAI kind, which is asked for any text.

    What the server calls the model is recorded; a fingerprint of its weights nobody has. A folder
    of that name here lends its prompt. context: see `CompletionsGenerator`.
    """
    data = Dataset.load(dataset)
    config = generated.GenerationsConfig(
        split=split,
        titles=titles,
        limit_users=limit_users,
        served=server.model,
        **settings.model_dump(),
    )

    def begin() -> Callable[[Draft], None]:
        from gloss.decoding.completions import CompletionsGenerator

        template = _template_for(Path(server.model))
        generator = CompletionsGenerator(server, settings, template=template, context=context)
        prompts = _prompts_for(generator, data, titles, split, limit_users)
        shards = shards_of(prompts, settings.shard_users)
        writing = _Writing(lambda: generator)
        return partial(_fill, writing, shards, workers=HERE, progress=progress)

    recipe = Recipe(generated.KIND, config.to_json(), {"dataset": data.fingerprint})
    return recipe.make_from(out, begin, is_work=True)


def _template_for(model: Path) -> PromptTemplate:
    """The prompt of a model folder; the published one if there is no such folder."""
    if not model.is_dir():
        return PAPER_TEMPLATE
    from gloss.language.loading import template_of

    return template_of(model)


def estimate(
    model: Path,
    dataset: Path,
    *,
    split: SplitName,
    settings: Decoding,
    titles: TitleStyle = "fair",
    limit_users: int | None = None,
    loading: Loading = AS_IT_IS,
) -> dict[str, int]:
    """What `generate` would do: users, tokens, and about how many seconds and how much memory.

    Seconds and memory are measured on a few users, the longest prompt among them; memory is the
    largest that this process (on a GPU: its device) has held.
    """
    require_extra("generating", "train", "torch", "transformers")
    data = Dataset.load(dataset)
    _, titles = _model_for(data, model, titles)
    writing, prompts = _writing_for(data, model, settings, titles, split, limit_users, loading)
    generator = writing.generator
    count_tokens = generator.prompt_builder().count_tokens
    lengths = [count_tokens(prompt.text) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lengths.__getitem__)
    few = [prompts[index] for index in by_length[:: -max(1, len(prompts) // _PROBED)]]
    generator.generate(few[:2])
    started = time.monotonic()
    generator.generate(few)
    seconds = (time.monotonic() - started) * len(prompts) / max(1, len(few))
    footprint = generator.footprint()
    return {
        "users": len(prompts),
        "prompt tokens": sum(lengths),
        "longest prompt": max(lengths, default=0),
        "new tokens at most": len(prompts) * footprint.new_tokens,
        "about seconds": round(seconds),
        "about megabytes": footprint.peak_megabytes,
    }


def _model_for(
    data: Dataset, model: Path, titles: TitleStyle
) -> tuple[Artifact | None, TitleStyle]:
    """Our model's manifest, if it is ours and of these data, and the titles that it speaks."""
    from gloss.language.loading import model_artifact
    from gloss.language.records import ModelConfig

    ours = model_artifact(model)
    if ours is None:
        return None, titles
    ours.require_input("dataset", data.fingerprint, f"the data set {data.path}")
    return ours, ModelConfig.of(ours).titles


class _Writing:
    """What is done with a shard of prompts: its rows. A model is loaded where it is needed first,
    and left behind when this is sent to other workers. opened: loads it."""

    def __init__(self, opened: Callable[[], Generator]) -> None:
        self._opened = opened

    @cached_property
    def generator(self) -> Generator:
        """The loaded model."""
        return self._opened()

    def __call__(self, prompts: Sequence[Prompt], progress: Progress, /) -> list[dict[str, Any]]:
        return [to_row(each) for each in self.generator.generate(prompts, progress=progress)]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "generator"}


def _writing_for(
    data: Dataset,
    model: Path,
    settings: Decoding,
    titles: TitleStyle,
    split: SplitName,
    limit_users: int | None,
    loading: Loading,
) -> tuple[_Writing, list[Prompt]]:
    """The work with its model, and the prompts of the users who are asked."""
    writing = _Writing(partial(_opened, model, settings, data.catalogue(titles), loading))
    return writing, _prompts_for(writing.generator, data, titles, split, limit_users)


def _opened(model: Path, settings: Decoding, catalogue: Catalogue, loading: Loading) -> Generator:
    from gloss.decoding.open import open_generator

    return open_generator(model, settings, catalogue, loading=loading)


def _prompts_for(
    generator: Generator,
    data: Dataset,
    titles: TitleStyle,
    split: SplitName,
    limit_users: int | None,
) -> list[Prompt]:
    examples = data.examples(split, limit=limit_users)
    return generator.prompt_builder().build_all(examples, data.catalogue(titles))


def _fill(
    writing: _Writing,
    shards: Sequence[Shard[Prompt]],
    draft: Draft,
    *,
    workers: Workers,
    progress: Progress,
) -> None:
    _write_shards(draft, writing, shards, workers, progress)
    prompts = [prompt for shard in shards for prompt in shard.content]
    dropped = sum(prompt.dropped for prompt in prompts)
    draft.summary.update({"users": len(prompts), "purchases dropped from prompts": dropped})


def _write_shards(
    draft: Draft,
    writing: _Writing,
    shards: Sequence[Shard[Prompt]],
    workers: Workers,
    progress: Progress,
) -> None:
    """One file for each shard; one that an earlier try has finished stays. Of several processes
    each writes every n-th."""
    own = shards[process_number() :: process_count()]
    left = [shard for shard in own if not draft.is_finished(_file_of(shard))]
    users, users_left = _users_in(own), _users_in(left)
    progress(users - users_left, users)
    of_all = further(progress, users - users_left, 0)
    for shard, rows in workers.map(writing, left, progress=of_all):
        draft.write_lines(_file_of(shard), rows)
        draft.finish(_file_of(shard), [_file_of(shard)])


def _file_of(shard: Shard[Prompt]) -> str:
    return f"part-{shard.number:05d}.jsonl"


def _users_in(shards: Sequence[Shard[Prompt]]) -> int:
    return sum(len(shard.content) for shard in shards)


def _weights_of(model: Path, ours: Artifact | None, loading: Loading) -> dict[str, str]:
    """Fingerprints of a model folder and, where it is an adapter, of what lies beneath it."""
    from gloss.language.loading import base_of

    weights = {"model": ours.fingerprint if ours else _folder_fingerprint(model)}
    base = base_of(model, loading.base)
    return weights | ({"base": base.fingerprint()} if base else {})


def _folder_fingerprint(folder: Path) -> str:
    there = sorted([*folder.glob("*"), *folder.glob("network-*/*")])
    files = {file.relative_to(folder).as_posix(): file for file in there if file.is_file()}
    return fingerprint_of(
        *(part for name, f in files.items() for part in (name, fingerprint_of_file(f)))
    )
