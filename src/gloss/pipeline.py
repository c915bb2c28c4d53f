"""`gloss run`: all stages of an experiment into one run folder.

Stages that are done and whole are not done again; a change in the settings redoes what depends on
it. Killed at any point, the next run ends with the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from gloss import stages
from gloss.artifacts import locked, write_atomic
from gloss.config import Experiment
from gloss.data.dataset import SplitName
from gloss.data.splits import SplitRule
from gloss.errors import ConfigError, InputError
from gloss.evaluation import boosting
from gloss.evaluation.protocol import EvaluationProtocol, protocol_named, require_measurable
from gloss.evaluation.segments import SegmentBounds
from gloss.progress import Progress, silent
from gloss.report.content import Report
from gloss.retrieval.index import IndexSettings
from gloss.retrieval.indexing import encoder_of
from gloss.runs import FUSED, OURS, SIGNALS, RunFolder
from gloss.stages.reporting import report_on, write_report

__all__ = ["Announce", "fitted_in", "protocol_of", "quietly", "run", "run_signals"]

_REHEARSED: SplitRule = "leave-one-out"
"""How a rehearsal is split: nobody trains on the second-last purchase, which it asks for."""

Announce = Callable[[str], AbstractContextManager[Progress]]
"""Called with a stage's name as it begins; the context ends with the stage."""


@contextmanager
def quietly(_stage: str) -> Iterator[Progress]:
    """Announce nothing."""
    yield silent


def run(experiment: Experiment, out: Path, *, announce: Announce = quietly) -> Report:
    """Do every stage of an experiment that is not done yet; returns the report it ends with.

    Raises InputError if `out` holds something that is not a run, ArtifactError if another process
    is at work on it, ConfigError for settings that do not fit together.
    """
    with _begun(experiment, out, announce) as work:
        return _all_stages(work)


def _all_stages(work: _Work) -> Report:
    experiment, announce = work.experiment, work.announce
    work.prepare()
    work.train()
    work.generate("test")
    work.index()
    work.rank()
    names = [OURS, *stages.BASELINES]
    if experiment.signals.use:
        rehearsal = work.rehearsal()
        if rehearsal is not work:
            rehearsal.prepare()
            rehearsal.train()
            rehearsal.index()
            rehearsal.sources()
        work.sources()
        rehearsal.generate("validation")
        rehearsal.signals("validation")
        rehearsal.titles("validation")
        work.signals("test")
        work.titles("test")
        with announce("fuse"):
            work.fuse(SIGNALS, experiment.signals.use)
            work.fuse(FUSED, (OURS, *experiment.signals.use))
        names += [FUSED, SIGNALS]
    with announce("evaluate"):
        work.evaluate(names)
    with announce("report"):
        (report,) = report_on([work.folder.path], command=f"gloss run {experiment.name}.yaml")
        write_report([report], work.folder.page)
    return report


def run_signals(
    experiment: Experiment, out: Path, *, announce: Announce = quietly
) -> dict[str, Path]:
    """Do what an experiment's signals need and no language model; the evaluations, by name.

    A later `run` in the same folder takes over what is done. Raises ConfigError when the experiment
    uses no signals, and what `run` raises.
    """
    if not experiment.signals.use:
        raise ConfigError("signals.use names no signal: there is nothing to do")
    with _begun(experiment, out, announce) as work:
        return _all_signals(work)


def _all_signals(work: _Work) -> dict[str, Path]:
    experiment, announce = work.experiment, work.announce
    work.prepare()
    rehearsal = work.rehearsal()
    if rehearsal is not work:
        rehearsal.prepare()
        rehearsal.sources()
    work.sources()
    rehearsal.signals("validation")
    work.signals("test")
    with announce("fuse"):
        work.fuse(SIGNALS, experiment.signals.use)
    with announce("evaluate"):
        work.evaluate([SIGNALS])
    return work.folder.evaluations()


def protocol_of(experiment: Experiment) -> EvaluationProtocol:
    """The experiment's protocol, with what its ranking section sets instead."""
    wanted = experiment.ranking.model_dump(exclude={"segments"}, exclude_none=True)
    return replace(protocol_named(experiment.protocol), **wanted)


def fitted_in(experiment: Experiment, folder: RunFolder) -> RunFolder:
    """Where the validation users lie on whom a run's fusion is fitted: in the run or its
    rehearsal, which the leave-one-out split does not need."""
    rehearsed = experiment.signals.rehearsal and experiment.data.split != _REHEARSED
    return folder.rehearsal if rehearsed else folder


def _index_of(experiment: Experiment, protocol: EvaluationProtocol) -> IndexSettings:
    """The protocol's index, with what the experiment's index section sets instead."""
    wanted = experiment.index.model_dump(exclude_none=True)
    return replace(protocol.index_settings(experiment.index.retriever), **wanted)


def _vectors_of(experiment: Experiment, protocol: EvaluationProtocol) -> IndexSettings:
    """The index whose title vectors signals read."""
    return protocol.index_settings("dense", encoder=experiment.signals.encoder)


def _require_parts(experiment: Experiment, protocol: EvaluationProtocol) -> None:
    """What is missing is said at once, not after the training."""
    encoder_of(_index_of(experiment, protocol))
    if stages.needs_vectors(experiment.signals) or "tuned" in experiment.signals.use:
        encoder_of(_vectors_of(experiment, protocol))
    if experiment.signals.use and experiment.signals.fusion == "trees":
        boosting.require_installed()


@dataclass(frozen=True, slots=True)
class _Work:
    """An experiment's stages, each from its place in a run folder to its place there."""

    experiment: Experiment
    folder: RunFolder
    protocol: EvaluationProtocol
    announce: Announce

    def rehearsal(self) -> _Work:
        """The run on whose validation users the fusion is fitted: this one, or the same one
        purchase earlier, where everybody has a purchase that nothing was trained on."""
        folder = fitted_in(self.experiment, self.folder)
        if folder == self.folder:
            return self
        earlier = self.experiment.data.model_copy(update={"split": _REHEARSED})
        return replace(
            self,
            experiment=self.experiment.model_copy(update={"data": earlier}),
            folder=folder,
            announce=lambda stage: self.announce(f"rehearsal: {stage}"),
        )

    def prepare(self) -> None:
        with self.announce("prepare") as progress:
            stages.prepare(self.experiment.data, self.folder.data, progress=progress)

    def train(self) -> None:
        with self.announce("train") as progress:
            stages.train(
                self.folder.data,
                self.folder.model,
                model=self.experiment.model,
                training=self.experiment.training,
                titles=self.protocol.title_style,
                seed=self.experiment.seed,
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
                progress=progress,
            )

    def index(self) -> None:
        settings = _index_of(self.experiment, self.protocol)
        with self.announce("index") as progress:
            stages.index(self.folder.data, self.folder.index, settings=settings, progress=progress)

    def rank(self) -> None:
        """The language model's list, and the baselines'."""
        with self.announce("rank"):
            stages.rank(
                self.folder.generations,
                self.folder.index,
                self.folder.ranking(OURS),
                protocol=self.protocol,
            )
            for name in stages.BASELINES:
                stages.baseline(
                    name,
                    self.folder.data,
                    self.folder.ranking(name),
                    protocol=self.protocol,
                    index=self.folder.index,
                    limit_users=self.experiment.limit_users,
                )

    def sources(self) -> None:
        """What signals are made from: vectors of titles, a taught encoder, SASRec's networks."""
        settings = self.experiment.signals
        if self._vectors:
            index = _vectors_of(self.experiment, self.protocol)
            with self.announce("vectors") as progress:
                stages.index(self.folder.data, self._vectors, settings=index, progress=progress)
        if self._encoder:
            with self.announce("teach encoder") as progress:
                stages.tune(
                    self.folder.data,
                    self._encoder,
                    encoder=settings.encoder,
                    titles=self.protocol.title_style,
                    settings=settings.tuning,
                    asked=settings.transitions,
                    seed=self.experiment.seed,
                    progress=progress,
                )
        if "sasrec" in settings.use:
            with self.announce("train sasrec") as progress:
                stages.train_sasrec(
                    self.folder.data,
                    self.folder.networks,
                    settings=settings.sasrec,
                    titles=self.protocol.title_style,
                    seed=self.experiment.seed,
                    index=self._vectors,
                    progress=progress,
                )

    @property
    def _encoder(self) -> Path | None:
        """Where the taught encoder lies, if there is to be one."""
        return self.folder.encoder if "tuned" in self.experiment.signals.use else None

    @property
    def _vectors(self) -> Path | None:
        """Where the vectors of titles lie, if a signal reads any."""
        return self.folder.vectors if stages.needs_vectors(self.experiment.signals) else None

    def signals(self, split: SplitName) -> None:
        """Long lists of every signal."""
        settings = self.experiment.signals
        for name in settings.use:
            with self.announce(f"{split} {name}") as progress:
                stages.signal(
                    name,
                    self.folder.data,
                    self.folder.signal(split, name),
                    signals=settings,
                    protocol=replace(self.protocol, length=settings.length),
                    split=split,
                    index=self._vectors,
                    encoder=self._encoder,
                    networks=self.folder.networks,
                    limit_users=_limit(self.experiment, split),
                    progress=progress,
                )

    def titles(self, split: SplitName) -> None:
        """The items of the language model's titles, as a signal's long lists."""
        # A neighbour of a title has the title's probability, not its own: titles alone count.
        length = self.experiment.signals.length
        alone = replace(self.protocol, per_query=1, fusion="beam-order", length=length)
        stages.rank(
            self.folder.written(split),
            self.folder.index,
            self.folder.signal(split, OURS),
            protocol=alone,
        )

    def fuse(self, out: str, names: Sequence[str]) -> None:
        fitted = fitted_in(self.experiment, self.folder)
        stages.fuse(
            [self.folder.signal("test", name) for name in names],
            [fitted.signal("validation", name) for name in names],
            self.folder.data,
            self.folder.ranking(out),
            rule=self.experiment.signals.fusion,
            length=self.protocol.length,
            rehearsal=fitted.data,
        )

    def evaluate(self, names: Sequence[str]) -> None:
        """Measure rankings, and every signal's list."""
        rankings = {name: self.folder.ranking(name) for name in names}
        signals = self.experiment.signals.use
        rankings |= {name: self.folder.signal("test", name) for name in signals}
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
def _begun(experiment: Experiment, out: Path, announce: Announce) -> Iterator[_Work]:
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
        settings = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
        write_atomic(folder.config, settings.encode())
        yield _Work(experiment, folder, protocol, announce)


def _require_a_run(folder: RunFolder) -> None:
    """Raise InputError unless nothing is there but a run, or what one leaves that is killed at its
    first writes."""
    path, first = folder.path, {folder.lock.name, f".{folder.config.name}.tmp"}
    is_bare = not path.exists() or (path.is_dir() and {p.name for p in path.iterdir()} <= first)
    if not is_bare and not folder.config.is_file():
        raise InputError(f"{path} holds something that is not a run: name a new folder")


def _limit(experiment: Experiment, split: SplitName) -> int | None:
    """Of how many users of a split signals are asked at most."""
    if split == "test":
        return experiment.limit_users
    return min(experiment.signals.validation_users, experiment.limit_users or sys.maxsize)


def _bounds_of(experiment: Experiment) -> SegmentBounds | None:
    segments = experiment.ranking.segments
    return SegmentBounds(*segments) if segments else None
