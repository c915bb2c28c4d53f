"""The stage `report`: from run folders and evaluations to one page, and to tables for papers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from gloss.artifacts import MANIFEST, Artifact, Recipe, open_artifact, write_atomic
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError, InputError
from gloss.evaluation import evaluate as evaluations
from gloss.evaluation.evaluate import EvaluationConfig
from gloss.experiment.loading import load_experiment
from gloss.experiment.run_folder import FUSED, OURS, RunFolder
from gloss.experiment.seeds import spreads
from gloss.experiment.served import served_list
from gloss.experiment.settings import Experiment
from gloss.language.records import KIND, ModelConfig, ModelSummary
from gloss.rankings import files as rankings
from gloss.rankings.records import FusionSummary
from gloss.report.assemble import assemble, draw_samples
from gloss.report.content import Report, Sample, main_metric, metric_label
from gloss.report.names import baseline_name
from gloss.report.page import GENERATOR, render_reports
from gloss.report.sheets import sheets_of, to_csv, to_latex

__all__ = ["report_on", "write_report", "write_tables"]

TABLES = "tables"

_START = 4096
"""Bytes of a page among which it says what made it."""


@dataclass(frozen=True, slots=True)
class _Source:
    """An evaluation to report on: the label of its model, and the run that it is of, if one."""

    label: str
    artifact: Artifact
    run: RunFolder | None

    @property
    def group(self) -> tuple[str, str, str]:
        """Evaluations that share these stand in one report."""
        config = EvaluationConfig.of(self.artifact)
        return self.artifact.inputs["dataset"], config.protocol, config.split


def report_on(
    paths: Sequence[Path], datasets: Sequence[Path] = (), *, command: str = ""
) -> tuple[Report, ...]:
    """A report for each data set and protocol that runs and evaluations are of, in their order.

    paths: run folders, whose baselines count too, and folders made by `gloss evaluate`, whose data
    sets must be among `datasets` or those of the runs. Raises InputError naming a run that has not
    been evaluated, or an evaluation whose data set is not there.
    """
    paths = list(dict.fromkeys(map(Path, paths)))
    sources = [source for path in paths for source in _sources(path, alone=len(paths) == 1)]
    runs = [source.run for source in sources if source.run]
    known = [Dataset.load(path) for path in dict.fromkeys((*datasets, *(r.data for r in runs)))]
    by_fingerprint = {dataset.fingerprint: dataset for dataset in known}
    order = list(dict.fromkeys(source.group for source in sources))
    grouped = groupby(sorted(sources, key=lambda s: order.index(s.group)), lambda s: s.group)
    return tuple(_report(list(group), by_fingerprint, command) for _, group in grouped)


def write_report(reports: Sequence[Report], path: Path, *, title: str = "") -> None:
    """Write the page, atomically. title: of the page; without one, of its first report.

    Raises InputError rather than overwrite a file that is no report of ours.
    """
    if path.is_file() and not _is_ours(path):
        raise InputError(f"{path} is no report of gloss's: name another file")
    page = render_reports(reports, title=title or _title(reports), command=reports[0].command)
    write_atomic(path, page.encode())


def write_tables(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Write every table of the reports as NAME.csv and NAME.tex, the artefact `folder`; their
    paths."""
    names = []
    with Recipe(TABLES, {}, {}).draft(folder) as draft:
        for sheet in sheets_of(reports):
            for ending, text in {"csv": to_csv(sheet), "tex": to_latex(sheet)}.items():
                names.append(f"{sheet.name}.{ending}")
                write_atomic(draft.path / names[-1], text.encode("utf-8", "replace"))
    return [folder / name for name in names]


def _is_ours(page: Path) -> bool:
    with page.open("rb") as file:
        start = file.read(_START)
    return not start or GENERATOR.encode() in start


def _sources(path: Path, *, alone: bool) -> list[_Source]:
    if not RunFolder(path).config.is_file():
        if not (path / MANIFEST).is_file():
            raise InputError(f"{path} is neither a run folder nor an evaluation")
        return [_Source(path.name, _evaluation(path), None)]
    run = RunFolder.open(path)
    if OURS not in run.evaluations():
        raise InputError(f"{path} has no evaluation yet: finish it with `gloss run`")
    of = "" if alone else f", {_experiment(run).name}"
    return [
        _Source(f"{_label(name)}{of}", _evaluation(found), run)
        for name, found in run.evaluations().items()
    ]


def _evaluation(path: Path) -> Artifact:
    return open_artifact(path, evaluations.KIND)


def _report(sources: Sequence[_Source], datasets: dict[str, Dataset], command: str) -> Report:
    fingerprint = sources[0].group[0]
    if fingerprint not in datasets:
        raise InputError(
            f"{sources[0].artifact.path} is of a data set that was not given: name it with -d"
        )
    dataset = datasets[fingerprint]
    runs = list({source.run.path: source.run for source in sources if source.run}.values())
    labels = _distinct(source.label for source in sources)
    report = assemble(
        {label: s.artifact.path for label, s in zip(labels, sources, strict=True)},
        dataset,
        title=_experiment(runs[0]).name if len(runs) == 1 else dataset.name,
        facts={name: text for run in runs for name, text in _facts(run, alone=len(runs) == 1)},
        samples=_samples(runs[0], dataset) if runs else (),
    )
    shown = _shown(runs[0])[0] if runs else OURS
    return replace(
        report,
        command=command,
        samples_of="" if shown == OURS else baseline_name(shown),
        facts={**(report.facts or {}), **_seeds(runs, main_metric(report.rows))},
    )


def _seeds(runs: Sequence[RunFolder], metric: str) -> dict[str, str]:
    """How much a metric differs from seed to seed, label to text, where a run has several."""
    facts = {}
    for run in runs:
        of = "" if len(runs) == 1 else f", {_experiment(run).name}"
        for each in spreads(run, metric):
            if each.deviation > 0:
                label = (
                    f"{metric_label(metric)} of {len(each.values)} seeds, {_label(each.name)}{of}"
                )
                facts[label] = f"{each.mean:.4f}, standard deviation {each.deviation:.4f}"
    return facts


def _label(name: str) -> str:
    """What an evaluation of a run is called."""
    return "GLoSS" if name == OURS else baseline_name(name)


def _distinct(labels: Iterable[str]) -> list[str]:
    """Labels, those that stand there again with a number."""
    met: dict[str, int] = {}
    found = []
    for label in labels:
        met[label] = met.get(label, 0) + 1
        found.append(label if met[label] == 1 else f"{label} ({met[label]})")
    return found


def _samples(run: RunFolder, dataset: Dataset) -> tuple[Sample, ...]:
    model = ModelConfig.of(open_artifact(run.model, KIND))
    catalogue = dataset.catalogue(model.titles)
    return draw_samples(_shown(run)[1], dataset, catalogue)


def _shown(run: RunFolder) -> tuple[str, Path]:
    """The list that people would be shown: its name and its folder."""
    served = served_list(run) if FUSED in run.evaluations() else None
    return (served[0], served[1].path) if served else (OURS, run.ranking(OURS))


def _facts(run: RunFolder, *, alone: bool) -> list[tuple[str, str]]:
    """What a run's model is, label to text."""
    model = ModelSummary.of(open_artifact(run.model, KIND))
    of = "" if alone else f", {_experiment(run).name}"
    counts = {"Model parameters": model.parameters, "Tokens trained on": model.tokens}
    facts = [(f"{name}{of}", f"{count:,}") for name, count in counts.items() if count is not None]
    return [*facts, *((f"Served{of}", why) for why in _why_served(run))]


def _why_served(run: RunFolder) -> Iterator[str]:
    """What was found of the fused list, where it was compared with its parts."""
    if FUSED in run.evaluations():
        fused = open_artifact(run.ranking(FUSED), rankings.KIND)
        if why := FusionSummary.of(fused).why:
            yield why


def _title(reports: Sequence[Report]) -> str:
    if len(reports) == 1:
        return reports[0].title
    return f"{len(reports)} evaluations: {', '.join(dict.fromkeys(r.dataset for r in reports))}"


def _experiment(folder: RunFolder) -> Experiment:
    try:
        return load_experiment(folder.config)
    except ConfigError as error:
        raise InputError(f"{folder.path} was made by another version: {error}") from None
