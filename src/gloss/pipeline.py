"""`gloss run`: all stages of an experiment into one run folder.

Stages that are done and whole are not done again; a change in the settings redoes what depends on
it. Killed at any point, the next run ends with the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from gloss import stages
from gloss.artifacts import write_atomic
from gloss.config import Experiment
from gloss.data.dataset import SplitName
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

__all__ = ["Announce", "protocol_of", "quietly", "run", "run_signals"]

Announce = Callable[[str], AbstractContextManager[Progress]]
"""Called with a stage's name as it begins; the context ends with the stage."""


@contextmanager
def quietly(_stage: str) -> Iterator[Progress]:
    """Announce nothing."""
    yield silent


def run(experiment: Experiment, out: Path, *, announce: Announce = quietly) -> Report:
    """Do every stage of an experiment that is not done yet; returns the report it ends with.

    Raises InputError if `out` holds something that is not a run, ConfigError for settings that do
    not fit together.
    """
    protocol, bounds = protocol_of(experiment), _bounds_of(experiment)
    require_measurable(protocol.cutoffs, length=protocol.length)
    index = _index_of(experiment, protocol)
    _require_parts(experiment, protocol)
    folder = _claim(out, experiment)
    with announce("prepare") as progress:
        stages.prepare(experiment.data, folder.data, progress=progress)
    with announce("train") as progress:
        stages.train(
            folder.data,
            folder.model,
            model=experiment.model,
            training=experiment.training,
            titles=protocol.title_style,
            seed=experiment.seed,
            progress=progress,
        )
    with announce("generate") as progress:
        stages.generate(
            folder.model,
            folder.data,
            folder.generations,
            split="test",
            settings=experiment.decoding,
            limit_users=experiment.limit_users,
            progress=progress,
        )
    with announce("index") as progress:
        stages.index(folder.data, folder.index, settings=index, progress=progress)
    with announce("rank"):
        _rank(folder, protocol, experiment.limit_users)
    if experiment.signals.use:
        _signals(folder, experiment, protocol, announce)
        with announce("ask validation") as progress:
            _ask_validation(folder, experiment, protocol, progress)
        with announce("fuse"):
            _fuse(folder, experiment, protocol, SIGNALS, experiment.signals.use)
            _fuse(folder, experiment, protocol, FUSED, (OURS, *experiment.signals.use))
    with announce("evaluate"):
        names = (OURS, *stages.BASELINES, *((FUSED, SIGNALS) if experiment.signals.use else ()))
        _evaluate(folder, names, experiment, protocol, bounds)
    with announce("report"):
        (report,) = report_on([folder.path], command=f"gloss run {experiment.name}.yaml")
        write_report([report], folder.page)
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
    protocol = protocol_of(experiment)
    require_measurable(protocol.cutoffs, length=protocol.length)
    _require_parts(experiment, protocol)
    folder = _claim(out, experiment)
    with announce("prepare") as progress:
        stages.prepare(experiment.data, folder.data, progress=progress)
    _signals(folder, experiment, protocol, announce)
    with announce("fuse"):
        _fuse(folder, experiment, protocol, SIGNALS, experiment.signals.use)
    with announce("evaluate"):
        _evaluate(folder, (SIGNALS,), experiment, protocol, _bounds_of(experiment))
    return folder.evaluations()


def protocol_of(experiment: Experiment) -> EvaluationProtocol:
    """The experiment's protocol, with what its ranking section sets instead."""
    wanted = experiment.ranking.model_dump(exclude={"segments"}, exclude_none=True)
    return replace(protocol_named(experiment.protocol), **wanted)


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
    if stages.needs_vectors(experiment.signals):
        encoder_of(_vectors_of(experiment, protocol))
    if experiment.signals.use and experiment.signals.fusion == "trees":
        boosting.require_installed()


def _claim(out: Path, experiment: Experiment) -> RunFolder:
    folder = RunFolder(Path(out))
    if out.is_file() or (out.is_dir() and not folder.config.is_file() and not _is_bare(out)):
        raise InputError(f"{out} holds something that is not a run: name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    settings = experiment.model_dump(mode="json")
    write_atomic(folder.config, yaml.safe_dump(settings, sort_keys=False).encode())
    return folder


def _is_bare(folder: Path) -> bool:
    """Whether nothing is there, but for what a run leaves that is killed at its first write."""
    return all(path.name == ".config.yaml.tmp" for path in folder.iterdir())


def _rank(folder: RunFolder, protocol: EvaluationProtocol, limit_users: int | None) -> None:
    stages.rank(folder.generations, folder.index, folder.ranking(OURS), protocol=protocol)
    for name in stages.BASELINES:
        stages.baseline(
            name,
            folder.data,
            folder.ranking(name),
            protocol=protocol,
            index=folder.index,
            limit_users=limit_users,
        )


def _signals(
    folder: RunFolder, experiment: Experiment, protocol: EvaluationProtocol, announce: Announce
) -> None:
    """Long lists of every signal, for validation and for test users."""
    settings = experiment.signals
    vectors = folder.vectors if stages.needs_vectors(settings) else None
    if vectors:
        index = _vectors_of(experiment, protocol)
        with announce("vectors") as progress:
            stages.index(folder.data, vectors, settings=index, progress=progress)
    if "sasrec" in settings.use:
        with announce("train sasrec") as progress:
            stages.train_sasrec(
                folder.data,
                folder.networks,
                settings=settings.sasrec,
                titles=protocol.title_style,
                seed=experiment.seed,
                index=vectors,
                progress=progress,
            )
    for name in settings.use:
        for split, limit in _asked(experiment):
            with announce(f"{split} {name}") as progress:
                stages.signal(
                    name,
                    folder.data,
                    folder.signal(split, name),
                    signals=settings,
                    protocol=replace(protocol, length=settings.length),
                    split=split,
                    index=vectors,
                    networks=folder.networks,
                    limit_users=limit,
                    progress=progress,
                )


def _ask_validation(
    folder: RunFolder, experiment: Experiment, protocol: EvaluationProtocol, progress: Progress
) -> None:
    """The language model asked of validation users too, and its titles' items as long lists."""
    # A neighbour of a title has the title's probability, which is not its own: titles alone count.
    titles = replace(protocol, per_query=1, fusion="beam-order", length=experiment.signals.length)
    (split, limit), _ = _asked(experiment)
    stages.generate(
        folder.model,
        folder.data,
        folder.validation_generations,
        split=split,
        settings=experiment.decoding,
        limit_users=limit,
        progress=progress,
    )
    written = {"validation": folder.validation_generations, "test": folder.generations}
    for asked, generations in written.items():
        stages.rank(generations, folder.index, folder.signal(asked, OURS), protocol=titles)


def _fuse(
    folder: RunFolder,
    experiment: Experiment,
    protocol: EvaluationProtocol,
    out: str,
    names: Sequence[str],
) -> None:
    stages.fuse(
        [folder.signal("test", name) for name in names],
        [folder.signal("validation", name) for name in names],
        folder.data,
        folder.ranking(out),
        rule=experiment.signals.fusion,
        length=protocol.length,
    )


def _asked(experiment: Experiment) -> tuple[tuple[SplitName, int], tuple[SplitName, int | None]]:
    """The splits that signals are asked of, with how many users at most."""
    most = min(experiment.signals.validation_users, experiment.limit_users or sys.maxsize)
    return ("validation", most), ("test", experiment.limit_users)


def _bounds_of(experiment: Experiment) -> SegmentBounds | None:
    segments = experiment.ranking.segments
    return SegmentBounds(*segments) if segments else None


def _evaluate(
    folder: RunFolder,
    names: Sequence[str],
    experiment: Experiment,
    protocol: EvaluationProtocol,
    bounds: SegmentBounds | None,
) -> None:
    rankings = {name: folder.ranking(name) for name in names}
    rankings |= {name: folder.signal("test", name) for name in experiment.signals.use}
    for name, ranking in rankings.items():
        stages.evaluate(
            ranking,
            folder.data,
            folder.evaluation(name),
            protocol=protocol,
            bounds=bounds,
            generations=folder.generations if name == OURS else None,
        )
