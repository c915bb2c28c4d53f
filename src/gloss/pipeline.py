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
from gloss.artifacts import open_artifact, write_atomic
from gloss.config import Experiment, load_experiment
from gloss.data.dataset import Dataset, SplitName
from gloss.errors import ConfigError, InputError
from gloss.evaluation.protocol import EvaluationProtocol, protocol_named, require_measurable
from gloss.evaluation.segments import SegmentBounds
from gloss.progress import Progress, silent
from gloss.report.assemble import assemble, draw_samples
from gloss.report.content import Report
from gloss.report.page import render_report
from gloss.retrieval.indexing import encoder_of
from gloss.runs import FUSED, OURS, SIGNALS, RunFolder

__all__ = ["Announce", "protocol_of", "quietly", "report_on", "run", "run_signals", "write_report"]

Announce = Callable[[str], AbstractContextManager[Progress]]
"""Called with a stage's name as it begins; the context ends with the stage."""


_OTHERS = {SIGNALS: "All signals, without a language model"}


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
    index = protocol.index_settings(
        experiment.ranking.retriever, encoder=experiment.ranking.encoder
    )
    encoder_of(index)  # missing? said now, not after the training
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
        report = report_on([folder])
        write_report(report, folder.page)
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
    wanted = experiment.ranking.model_dump(
        exclude={"segments", "retriever", "encoder"}, exclude_none=True
    )
    return replace(protocol_named(experiment.protocol), **wanted)


def report_on(folders: Sequence[RunFolder], *, command: str = "") -> Report:
    """One report of one or more runs on the same data; baselines are those of the first.

    Raises InputError when a run has not been evaluated.
    """
    first = folders[0]
    evaluations: dict[str, Path] = {}
    for folder in folders:
        if OURS not in folder.evaluations():
            raise InputError(f"{folder.path} has no evaluation yet: finish it with `gloss run`")
        evaluations[_label(folder, alone=len(folders) == 1)] = folder.evaluation(OURS)
        if FUSED in folder.evaluations():
            label = _label(folder, alone=len(folders) == 1)
            evaluations[f"{label}, fused with signals"] = folder.evaluation(FUSED)
    evaluations |= {
        _OTHERS.get(name, name): path
        for name, path in first.evaluations().items()
        if name not in (OURS, FUSED)
    }
    data = Dataset.load(first.data)
    model = open_artifact(first.model, "model")
    samples = draw_samples(first.ranking(OURS), data, data.catalogue(model.config["titles"]))
    return assemble(
        evaluations,
        data,
        title=_experiment(first).name,
        facts={
            "Model parameters": f"{model.summary['parameters']:,}",
            "Tokens trained on": f"{model.summary['tokens']:,}",
        },
        samples=samples,
        command=command or f"gloss run {_experiment(first).name}.yaml",
    )


def write_report(report: Report, path: Path) -> None:
    """Write the page, atomically."""
    write_atomic(path, render_report(report).encode())


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
        index = protocol.index_settings("dense", encoder=settings.encoder)
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
    for name, generations in written.items():
        stages.rank(generations, folder.index, folder.signal(name, OURS), protocol=titles)


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
        )


def _label(folder: RunFolder, *, alone: bool) -> str:
    return "GLoSS" if alone else f"GLoSS, {_experiment(folder).name}"


def _experiment(folder: RunFolder) -> Experiment:
    try:
        return load_experiment(folder.config)
    except ConfigError as error:
        raise InputError(f"{folder.path} was made by another version: {error}") from None
