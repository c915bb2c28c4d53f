"""`gloss run`: all stages of an experiment into one run folder.

Stages that are done and whole are not done again; a change in the settings redoes what depends on
it. Killed at any point, the next run ends with the same bytes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gloss.artifacts import locked, write_atomic
from gloss.config import Settings
from gloss.data.dataset import Dataset, SplitName
from gloss.data.splits import SplitRule
from gloss.errors import ConfigError, InputError
from gloss.evaluation.protocol import EvaluationProtocol, require_measurable
from gloss.evaluation.segments import SegmentBounds
from gloss.experiment import stages
from gloss.experiment.cost import cost_of, require_a_day
from gloss.experiment.following import on_data, protocol_of
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.experiment.settings import Experiment
from gloss.experiment.sizing import changes, has_gpu, shop_of, sized
from gloss.experiment.stages.report import report_on, write_report
from gloss.fusion.rules import rule_named
from gloss.progress import Progress, silent
from gloss.rankers.ranker import Need, RankerSpec
from gloss.rankers.sources import RankerSources
from gloss.rankers.specs import ranker_named
from gloss.report.content import Report
from gloss.retrieval.index import fetch_what_is_needed
from gloss.retrieval.settings import IndexSettings
from gloss.retrieval.specs import retriever_named
from gloss.shards import HERE, Workers

__all__ = [
    "COMPARED",
    "Announce",
    "fitted_in",
    "index_of",
    "quietly",
    "run",
    "run_rankers",
    "run_seeds",
    "train_parts",
]

_LOG = logging.getLogger(__name__)

_SHIFTED_SPLIT: SplitRule = "leave-one-out"
"""How a shifted run is split: nobody trains on the second-last purchase, which it predicts."""

COMPARED = ("last-item", "popularity")
"""Rankers that every run is compared with, whether it fuses them or not."""

Announce = Callable[[str], AbstractContextManager[Progress]]
"""Called with a stage's name as it begins; the context ends with the stage."""


@contextmanager
def quietly(_stage: str) -> Iterator[Progress]:
    """Announce nothing."""
    yield silent


def run(
    experiment: Experiment,
    out: Path,
    *,
    announce: Announce = quietly,
    force: bool = False,
    workers: Workers = HERE,
) -> Report:
    """Do every stage of an experiment that is not done yet; returns the report it ends with.

    force: train a language model even if that takes more than a day. workers: who generates and
    ranks. Raises InputError if `out`
    holds something that is not a run, ArtifactError if another process is at work on it,
    ConfigError for settings that do not fit together.
    """
    _require_asked(experiment)
    with _begun(experiment, out, announce, workers) as work:
        return _all_stages(work, force=force)


def _all_stages(work: _Work, *, force: bool) -> Report:
    work = work.prepared(model=True, force=force)
    experiment, announce = work.experiment, work.announce
    work.train()
    work.generate("test")
    work.index()
    work.rank()
    names = [OURS, *COMPARED]
    if experiment.rankers.use:
        _make_candidates(work, model=True)
        with announce("fuse"):
            work.fuse(RANKERS, experiment.rankers.use)
            work.fuse(FUSED, (OURS, *experiment.rankers.use))
        names += [FUSED, RANKERS]
    with announce("evaluate"):
        work.evaluate(names)
    with announce("report"):
        return _reported(work.folder, experiment)


def _reported(folder: RunFolder, experiment: Experiment) -> Report:
    (report,) = report_on([folder.path], command=f"gloss run {experiment.name}.yaml")
    write_report([report], folder.page)
    return report


def run_seeds(
    experiment: Experiment,
    out: Path,
    *,
    seeds: int,
    announce: Announce = quietly,
    force: bool = False,
    workers: Workers = HERE,
) -> Report:
    """`run`, then the same with the next seeds in `out`/seeds, `seeds` in all; the report says how
    much figures differ from seed to seed. Raises what `run` raises."""
    report = run(experiment, out, announce=announce, force=force, workers=workers)
    for further, folder, announced in _further_seeds(experiment, out, seeds, announce):
        run(further, folder, announce=announced, force=force, workers=workers)
    return _reported(RunFolder(Path(out)), experiment) if seeds > 1 else report


def run_rankers(
    experiment: Experiment,
    out: Path,
    *,
    seeds: int = 1,
    announce: Announce = quietly,
    workers: Workers = HERE,
) -> dict[str, Path]:
    """Do what an experiment's rankers need and no language model; the evaluations, by name.

    A later `run` in the same folder takes over what is done. seeds: as in `run_seeds`. Raises
    ConfigError when the experiment uses no rankers, or several seeds and no ranker that is trained,
    and what `run` raises.
    """
    _require_rankers(experiment)
    _require_asked(experiment)
    if seeds > 1:
        _require_trained(experiment)
    with _begun(experiment, out, announce, workers) as work:
        made = _all_rankers(work)
    for further, folder, announced in _further_seeds(experiment, out, seeds, announce):
        run_rankers(further, folder, announce=announced, workers=workers)
    return made


def _further_seeds(
    experiment: Experiment, out: Path, seeds: int, announce: Announce
) -> Iterator[tuple[Experiment, Path, Announce]]:
    """The same experiment with the next seeds, where each goes, and how its stages are announced;
    `seeds` in all with the experiment's own."""
    for seed in range(experiment.seed + 1, experiment.seed + seeds):
        yield (
            experiment.model_copy(update={"seed": seed}),
            RunFolder(Path(out)).of_seed(seed).path,
            lambda stage, seed=seed: announce(f"seed {seed}: {stage}"),  # type: ignore[misc]
        )


def _all_rankers(work: _Work) -> dict[str, Path]:
    work = work.prepared(model=False)
    experiment, announce = work.experiment, work.announce
    _require_rankers(experiment)
    _make_candidates(work, model=False)
    with announce("fuse"):
        work.fuse(RANKERS, experiment.rankers.use)
    with announce("evaluate"):
        work.evaluate([RANKERS])
    return work.folder.evaluations()


def train_parts(
    experiment: Experiment,
    out: Path,
    *,
    model: bool,
    announce: Announce = quietly,
    force: bool = False,
) -> RunFolder:
    """Train what an experiment's recommender is made of, on all that it may see, and measure
    nothing: the run folder `out`. model: whether the language model is among it; force: as in
    `run`."""
    with _begun(experiment, out, announce) as work:
        work = work.prepared(model=model, force=force)
        if model:
            work.train()
        work.index()
        work.train_rankers()
        return work.folder


def _make_candidates(work: _Work, *, model: bool) -> None:
    """The long lists that are fused, and those of validation users that the fusion is fitted on.

    model: whether the language model's titles are among them; the run has trained it then.
    """
    shifted_run = work.shifted_run()
    if shifted_run is not work:
        shifted_run.prepare()
        if model:
            shifted_run.train()
            shifted_run.index()
        shifted_run.train_rankers()
    work.train_rankers()
    if model:
        shifted_run.generate("validation")
    parts: tuple[tuple[_Work, SplitName], ...] = ((shifted_run, "validation"), (work, "test"))
    for part, split in parts:
        part.rankers(split)
        if model:
            part.titles(split)


def fitted_in(experiment: Experiment, folder: RunFolder) -> RunFolder:
    """Where the validation users lie on whom a run's fusion is fitted: in the run or its shifted
    run, which the leave-one-out split does not need."""
    shifted = experiment.fusion.shifted_run and experiment.data.split != _SHIFTED_SPLIT
    return folder.shifted_run if shifted else folder


def index_of(experiment: Experiment, protocol: EvaluationProtocol) -> IndexSettings:
    """The protocol's index, with what the experiment's index section sets instead."""
    section = experiment.index
    return protocol.index_settings(section.retriever, **section.chosen())


def vectors_of(experiment: Experiment, protocol: EvaluationProtocol) -> IndexSettings:
    """The index whose title vectors rankers read."""
    return protocol.index_settings("dense", encoder=experiment.rankers.encoder)


def _rankers_of(experiment: Experiment) -> list[tuple[RankerSpec[Any], Settings]]:
    """The rankers that an experiment fuses, with their settings."""
    specs = [ranker_named(name) for name in experiment.rankers.use]
    return [(spec, experiment.rankers.of(spec)) for spec in specs]


def _parts_of(experiment: Experiment) -> list[tuple[RankerSpec[Any], Settings]]:
    """The rankers that teach the language model, and those that are fused with it."""
    names = dict.fromkeys((*experiment.distillation.teachers, *experiment.rankers.use))
    return [(spec, experiment.rankers.of(spec)) for spec in map(ranker_named, names)]


def _needs(experiment: Experiment) -> frozenset[Need]:
    """What all of its rankers are trained and built from."""
    return frozenset().union(*(s.all_needs(settings) for s, settings in _parts_of(experiment)))


def _require_parts(experiment: Experiment, protocol: EvaluationProtocol) -> None:
    """What is missing is said at once, not after the training."""
    _require_inputs(index_of(experiment, protocol))
    if _needs(experiment) & {"title-vectors", "encoder"}:
        _require_inputs(vectors_of(experiment, protocol))
    for spec, _ in _parts_of(experiment):
        spec.require_installed()
    if experiment.rankers.use:
        rule_named(experiment.fusion.rule).require_installed()


def _require_inputs(settings: IndexSettings) -> None:
    """Fetch what an index needs; raise what it would raise for something that it lacks."""
    fetch_what_is_needed(settings)
    retriever_named(settings.retriever).inputs(settings)


@dataclass(frozen=True, slots=True)
class _Work:
    """An experiment's stages, each from its place in a run folder to its place there."""

    experiment: Experiment
    folder: RunFolder
    protocol: EvaluationProtocol
    announce: Announce
    workers: Workers

    def shifted_run(self) -> _Work:
        """The run on whose validation users the fusion is fitted: this one, or the same one
        purchase earlier, where everybody has a purchase that nothing was trained on."""
        folder = fitted_in(self.experiment, self.folder)
        if folder == self.folder:
            return self
        earlier = self.experiment.data.model_copy(update={"split": _SHIFTED_SPLIT})
        return replace(
            self,
            experiment=self.experiment.model_copy(update={"data": earlier}),
            folder=folder,
            announce=lambda stage: self.announce(f"shifted run: {stage}"),
        )

    def prepared(self, *, model: bool, force: bool = False) -> _Work:
        """The same work on prepared data, with what follows them set; the sizes of the language
        model, where it takes part, are written to the run's settings too, if it can be trained in
        a day or with `force`."""
        self.prepare()
        data, experiment, sizes = Dataset.load(self.folder.data), self.experiment, {}
        if model:
            shop = shop_of(data, self.protocol.title_style)
            experiment = sized(self.experiment, shop, gpu=has_gpu())
            if not force:
                require_a_day(cost_of(experiment, shop, gpu=has_gpu()))
            sizes = changes(self.experiment, experiment)
            _write_settings(experiment, self.folder)
        experiment = on_data(experiment, data)
        if experiment.rankers.use and self.experiment.rankers.length is None:
            sizes["rankers.length"] = experiment.rankers.length
        _say_sizes(sizes)
        return replace(self, experiment=experiment, protocol=protocol_of(experiment))

    def prepare(self) -> None:
        with self.announce("prepare") as progress:
            stages.prepare(self.experiment.data, self.folder.data, progress=progress)

    def train(self) -> None:
        """The language model, after the rankers that teach it."""
        distils = bool(self.experiment.distillation.teachers)
        if distils:
            self.train_rankers()
        with self.announce("train") as progress:
            stages.train(
                self.folder.data,
                self.folder.model,
                model=self.experiment.model,
                training=self.experiment.training,
                titles=self.protocol.title_style,
                seed=self.experiment.seed,
                distillation=self.experiment.distillation,
                sources=self._sources() if distils else None,
                progress=progress,
            )

    def generate(self, split: SplitName) -> None:
        with self.announce("generate" if split == "test" else f"ask {split}") as progress:
            stages.generate(
                self.folder.model,
                self.folder.data,
                self.folder.written(split),
                split=split,
                settings=self.experiment.decoding,
                limit_users=_limit(self.experiment, split),
                workers=self.workers,
                progress=progress,
            )

    def index(self) -> None:
        settings = index_of(self.experiment, self.protocol)
        with self.announce("index") as progress:
            stages.index(
                self.folder.data,
                self.folder.index,
                settings=settings,
                keep_changes=True,
                progress=progress,
            )

    def rank(self) -> None:
        """The language model's list, and those that every run is compared with."""
        with self.announce("rank"):
            stages.rank(
                self.folder.generations,
                self.folder.index,
                self.folder.ranking(OURS),
                protocol=self.protocol,
                workers=self.workers,
            )
            sources = self._sources(index=self.folder.index)
            for name in COMPARED:
                spec = ranker_named(name)
                self._run(spec, sources, self.folder.ranking(name), settings=spec.settings())

    def train_rankers(self) -> None:
        """What rankers are built from: vectors of titles, and what some of them are trained to."""
        if "title-vectors" in _needs(self.experiment):
            vectors = vectors_of(self.experiment, self.protocol)
            with self.announce("vectors") as progress:
                stages.index(
                    self.folder.data, self.folder.vectors, settings=vectors, progress=progress
                )
        trained = [pair for pair in _parts_of(self.experiment) if pair[0].training]
        if not trained:
            return
        sources = self._sources()
        for spec, settings in trained:
            with self.announce(f"train {spec.name}") as progress:
                stages.train_ranker(
                    spec,
                    sources,
                    self.folder.trained(spec.name),
                    settings=settings,
                    seed=self.experiment.seed,
                    progress=progress,
                )

    @property
    def _list_length(self) -> int:
        """Items that each ranker brings to the fusion."""
        length = self.experiment.rankers.length
        assert length is not None  # nobody's setting is left open by `prepared`
        return length

    def rankers(self, split: SplitName) -> None:
        """Long lists of every ranker."""
        sources, length = self._sources(), self._list_length
        for spec, settings in _rankers_of(self.experiment):
            with self.announce(f"{split} {spec.name}") as progress:
                out = self.folder.ranker(split, spec.name)
                self._run(
                    spec,
                    sources,
                    out,
                    settings=settings,
                    length=length,
                    split=split,
                    progress=progress,
                )

    def _sources(self, index: Path | None = None) -> RankerSources:
        """What the run's rankers are made from. Lists to be fused do not take the run's index,
        which gains and loses items after the run: where one is searched, it is built in memory."""
        return RankerSources(
            Dataset.load(self.folder.data),
            self.protocol.title_style,
            index=index,
            index_settings=index_of(self.experiment, self.protocol),
            vectors=self.folder.vectors,
            encoder=self.experiment.rankers.encoder,
            trained={
                spec.name: self.folder.trained(spec.name) for spec, _ in _parts_of(self.experiment)
            },
        )

    def _run(
        self,
        spec: RankerSpec[Any],
        sources: RankerSources,
        out: Path,
        *,
        settings: Settings,
        length: int | None = None,
        split: SplitName = "test",
        progress: Progress = silent,
    ) -> None:
        stages.run_ranker(
            spec,
            sources,
            out,
            settings=settings,
            length=length or self.protocol.length,
            exclude_seen=self.protocol.exclude_seen,
            split=split,
            limit_users=_limit(self.experiment, split),
            workers=self.workers,
            progress=progress,
        )

    def titles(self, split: SplitName) -> None:
        """The items of the language model's titles, as a ranker's long lists."""
        # A neighbour of a title has the title's probability, not its own: titles alone count.
        length = self._list_length
        alone = replace(
            self.protocol, per_query=1, fusion="beam-order", length=length, fills_up=False
        )
        stages.rank(
            self.folder.written(split),
            self.folder.index,
            self.folder.ranker(split, OURS),
            protocol=alone,
            workers=self.workers,
        )

    def fuse(self, out: str, names: Sequence[str]) -> None:
        fitted = fitted_in(self.experiment, self.folder)
        stages.fuse(
            [self.folder.ranker("test", name) for name in names],
            [fitted.ranker("validation", name) for name in names],
            self.folder.data,
            self.folder.ranking(out),
            rule=rule_named(self.experiment.fusion.rule),
            length=self.protocol.length,
            shifted_run=fitted.data,
            guard=self.experiment.fusion.guard,
            new_items=self.experiment.fusion.new_items,
        )

    def evaluate(self, names: Sequence[str]) -> None:
        """Measure rankings, and every ranker's list."""
        rankings = {name: self.folder.ranking(name) for name in names}
        rankers = self.experiment.rankers.use
        rankings |= {name: self.folder.ranker("test", name) for name in rankers}
        bounds = _bounds_of(self.experiment)
        for name, ranking in rankings.items():
            stages.evaluate(
                ranking,
                self.folder.data,
                self.folder.evaluation(name),
                protocol=self.protocol,
                bounds=bounds,
                generations=self.folder.generations if name == OURS else None,
            )


@contextmanager
def _begun(
    experiment: Experiment, out: Path, announce: Announce, workers: Workers = HERE
) -> Iterator[_Work]:
    """Check what can be checked before anything is done, and hold the folder until all is."""
    protocol = protocol_of(experiment)
    require_measurable(protocol.cutoffs, length=protocol.length)
    _bounds_of(experiment)
    _require_parts(experiment, protocol)
    folder = RunFolder(Path(out))
    _require_a_run(folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.lock, f"another process is at work on the run {out}"):
        _require_a_run(folder)
        _write_settings(experiment, folder)
        yield _Work(experiment, folder, protocol, announce, workers)


def _say_sizes(sizes: Mapping[str, Any]) -> None:
    if sizes:
        set_so = " ".join(f"{name}={value}" for name, value in sizes.items())
        _LOG.warning("sizes that follow the data and the machine: %s", set_so)


def _write_settings(experiment: Experiment, folder: RunFolder) -> None:
    settings = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
    write_atomic(folder.config, settings.encode())


def _require_rankers(experiment: Experiment) -> None:
    """Raise ConfigError where no ranker takes part."""
    if not experiment.rankers.use:
        raise ConfigError("rankers.use names no ranker: there is nothing to do")


def _require_trained(experiment: Experiment) -> None:
    """Raise ConfigError where no ranker takes part that a seed changes."""
    if not any(spec.training for spec, _ in _rankers_of(experiment)):
        raise ConfigError(
            f"several seeds give equal lists: {', '.join(experiment.rankers.use)} only count and "
            "compare, and nothing is trained; run without --seeds, or with a ranker that is trained"
        )


def _require_asked(experiment: Experiment) -> None:
    """Raise ConfigError where there would be nothing to measure."""
    if experiment.data.split == "none":
        raise ConfigError(
            "data.split is none: nobody's purchase is held back, so nothing can be measured; take "
            "another split, or train what is served with `gloss fit`"
        )


def _require_a_run(folder: RunFolder) -> None:
    """Raise InputError unless nothing is there but a run, or what one leaves that is killed at its
    first writes."""
    path, first = folder.path, {folder.lock.name, f".{folder.config.name}.tmp"}
    is_bare = not path.exists() or (path.is_dir() and {p.name for p in path.iterdir()} <= first)
    if not is_bare and not folder.config.is_file():
        raise InputError(f"{path} holds something that is not a run: name a new folder")


def _limit(experiment: Experiment, split: SplitName) -> int | None:
    """Of how many users of a split rankers are asked at most."""
    if split == "test":
        return experiment.limit_users
    return min(experiment.fusion.validation_users, experiment.limit_users or sys.maxsize)


def _bounds_of(experiment: Experiment) -> SegmentBounds | None:
    segments = experiment.ranking.segments
    return SegmentBounds(*segments) if segments else None
