"""How good the lists are: ours, the baselines and the published figures, in one generated page.

    python benchmarks/accuracy.py run configs/toys-fused.yaml -o runs/toys-fused data.folder=FOLDER
    python benchmarks/accuracy.py run configs/toys-fused.yaml -o runs/toys-rankers --without-model
    python benchmarks/accuracy.py table runs/toys-fused runs/beauty-fused -o benchmarks/accuracy.md

`run` does what `gloss run` does, notes how long each stage took (`times.json` in the run folder),
and does for the ablation what the run does not: the language model's list without neighbours, with
bought items kept, with fewer beams and outside the catalogue, the fusion without each ranker in
turn and by each other rule. With `--without-model` it does the rankers alone, which a CPU can;
with `--without-ablation` nothing but the run, as for further seeds. `table` reads run folders, each
finished or not, and writes Markdown: nothing in it is typed in but figures that others published.
Runs of the same data and split with several seeds become one row of means, and a table of spreads;
the first of them is compared, user by user, with the best that is not ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.config import ScratchModel
from gloss.data.dataset import Dataset
from gloss.evaluation.evaluate import load_evaluation
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.evaluation.significance import compare_folders
from gloss.experiment import pipeline, stages
from gloss.experiment.following import protocol_of
from gloss.experiment.loading import load_experiment
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.experiment.settings import Experiment
from gloss.fusion.rule import FusionRule
from gloss.fusion.rules import RULES, rule_named
from gloss.progress import Progress, silent
from gloss.rankers.specs import RANKERS as SPECS
from gloss.rankings.records import FusedRankingConfig, config_of
from gloss.report.published import published_rows
from machine import hardware

TIMES, MACHINE = "times.json", "machine"
COLUMNS = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")
WITHOUT, BY_RULE, ALONE, BEAMS = "without-", "by-", "alone-", "beams-"
FEWER_BEAMS = (1, 5, 10)
ALONE_AS = {
    "titles": "language model alone: titles, no neighbours",
    "kept": "language model alone: bought items kept",
    "free": "language model alone: written freely, not inside the catalogue",
}

NAMES = {
    OURS: "GLoSS, language model alone",
    FUSED: "GLoSS, fused with all rankers",
    RANKERS: "All rankers, no language model",
    **{spec.name: spec.label for spec in SPECS},
    "last-item": "Last-item search, BM25",
    "sasrec": "SASRec, full softmax",
}
LEARNED_IN = {OURS: "train", **{spec.name: f"train {spec.name}" for spec in SPECS if spec.training}}
LISTED_IN = {OURS: "generate"}
"""Stages, by what they serve; other lists come of the stage `test …`."""

TIGER = {"beauty": (0.0454, 0.0321), "toys": (0.0521, 0.0371), "sports": (0.0264, 0.0181)}
"""Recall@5 and NDCG@5, Rajput et al., NeurIPS 2023: leave-one-out."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the page. values: metric -> mean, or missing."""

    name: str
    split: str
    removed: str
    values: dict[str, float]
    users: str = "all"
    parameters: str = "–"
    training: str = "–"
    decoding: str = "–"


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The call: its command, and what it was given.

    Settings may stand anywhere, also behind options, which a parser with subparsers refuses
    (argparse of Python 3.12 gives the first run of positionals to all that could take them).
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "table"], help="what to do")
    command, *rest = sys.argv[1:] if arguments is None else arguments or [""]
    told = parser.parse_args([command])
    run = argparse.ArgumentParser(description="run an experiment and note the time of its stages")
    run.add_argument("config", type=Path)
    run.add_argument("overrides", nargs="*", help="section.key=value")
    run.add_argument("-o", "--out", type=Path, required=True)
    run.add_argument("--without-model", action="store_true", help="rankers alone")
    run.add_argument("--without-ablation", action="store_true", help="the run alone")
    table = argparse.ArgumentParser(description="write the page from run folders")
    table.add_argument("runs", nargs="+", type=Path)
    table.add_argument("-o", "--out", type=Path, default=Path("benchmarks/accuracy.md"))
    return {"run": run, "table": table}[told.command].parse_intermixed_args(rest, told)


def main() -> None:
    """Parse the call and do it."""
    told = parsed()
    if told.command == "run":
        experiment, model = load_experiment(told.config, told.overrides), not told.without_model
        _run(experiment, told.out, model=model)
        if not told.without_ablation:
            _ablate(RunFolder(told.out), experiment, model=model)
    else:
        told.out.write_text(page([RunFolder.open(path) for path in told.runs]), "utf-8")
        print(told.out)


class Clock:
    """Announces stages and keeps how long each took; a stage that had nothing to do keeps its old
    time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Progress]:
        started = time.monotonic()
        yield silent
        seconds = time.monotonic() - started
        print(f"{stage:20} {seconds:8.1f} s", flush=True)
        times = json.loads(self._file.read_text()) if self._file.is_file() else {}
        times[MACHINE] = hardware()
        times[stage] = max(round(seconds, 1), times.get(stage, 0.0))
        self._file.write_text(json.dumps(times, indent=1) + "\n")


def _run(experiment: Experiment, out: Path, *, model: bool) -> None:
    done = pipeline.run if model else pipeline.run_rankers
    done(experiment, out, announce=Clock(out / TIMES))


def _ablate(folder: RunFolder, experiment: Experiment, *, model: bool) -> None:
    """What the run does not need, and its page tells of; what is quick comes first."""
    if model:
        protocol = protocol_of(experiment)
        _alone(folder, f"{ALONE}titles", replace(protocol, per_query=1, fusion="beam-order"))
        _alone(folder, f"{ALONE}kept", replace(protocol, exclude_seen=False))
        _otherwise(folder, experiment, f"{ALONE}free", mode="free")
        for beams in FEWER_BEAMS:
            if beams < experiment.decoding.beams:
                _otherwise(folder, experiment, f"{BEAMS}{beams}", beams=beams)
    if experiment.rankers.use:
        _without_parts(folder, experiment, [*([OURS] if model else []), *experiment.rankers.use])


def _without_parts(folder: RunFolder, experiment: Experiment, names: Sequence[str]) -> None:
    """The fusion without each of its lists in turn, and by each other rule."""
    used = rule_named(experiment.fusion.rule)
    for name in names:
        left = [each for each in names if each != name]
        if left:
            _fuse(folder, experiment, left, f"{WITHOUT}{name}", rule=used)
    for rule in RULES:
        if rule != used:
            _fuse(folder, experiment, names, f"{BY_RULE}{rule.name}", rule=rule)


def _alone(
    folder: RunFolder, name: str, protocol: EvaluationProtocol, written: Path | None = None
) -> None:
    """The language model's list by another protocol, or of other titles than the run's."""
    out = folder.path / "ablations" / name
    stages.rank(written or folder.generations, folder.index, out, protocol=protocol)
    _evaluate(folder, out, protocol)


def _otherwise(folder: RunFolder, experiment: Experiment, name: str, **decoding: Any) -> None:
    """The language model's list, decoded by other settings."""
    written = folder.path / "ablations" / f"{name}-titles"
    stages.generate(
        folder.model,
        folder.data,
        written,
        split="test",
        settings=experiment.decoding.model_copy(update={"returned": None, **decoding}),
        limit_users=experiment.limit_users,
    )
    _alone(folder, name, protocol_of(experiment), written)


def _fuse(
    folder: RunFolder, experiment: Experiment, names: Sequence[str], out: str, *, rule: FusionRule
) -> None:
    protocol, made = protocol_of(experiment), folder.path / "ablations" / out
    fitted = pipeline.fitted_in(experiment, folder)
    stages.fuse(
        [folder.ranker("test", name) for name in names],
        [fitted.ranker("validation", name) for name in names],
        folder.data,
        made,
        rule=rule,
        length=protocol.length,
        shifted_run=fitted.data,
    )
    _evaluate(folder, made, protocol)


def _evaluate(folder: RunFolder, ranking: Path, protocol: EvaluationProtocol) -> None:
    evaluation = ranking.with_name(f"{ranking.name}-evaluation")
    stages.evaluate(ranking, folder.data, evaluation, protocol=protocol)


def page(runs: Sequence[RunFolder]) -> str:
    """The whole page as Markdown."""
    by_data: dict[str, list[RunFolder]] = {}
    for run in runs:
        by_data.setdefault(Dataset.load(run.data).name, []).append(run)
    parts = [
        "# Accuracy",
        "Written by `benchmarks/accuracy.py` from evaluations on disk; test users, one seed "
        "where nothing else is said. Settings, weights and trees were chosen on validation users. "
        "*Removed*: whether items that a user has already bought are left out of the list. PAPER: "
        "most users train up to the second-last item; leave-one-out: nobody does. Published GLoSS "
        "figures are PAPER, bought items kept; TIGER's are leave-one-out.",
    ]
    for name, group in by_data.items():
        lines = [line for run in group for line in lines_of(run)]
        rows = [*_means(lines), *others(name)]
        parts += [f"## {name}", _results(sorted(rows, key=_order)), spreads(lines)]
        machines = {str(_times(run).get(MACHINE, "not noted")) for run in group}
        parts.append(
            f"Wall times, whatever else ran beside: {'; '.join(sorted(machines))}. Those of fused "
            "lists are sums over all that is fused, the shifted_run's training included."
        )
        parts.append(comparisons(group))
        parts += [ablation(run) for run in group if (run.path / "ablations").is_dir()]
    return "\n\n".join(part for part in parts if part) + "\n"


def lines_of(run: RunFolder) -> list[Line]:
    """A line for every evaluation of a run."""
    experiment, times = load_experiment(run.config), _times(run)
    lines = []
    for name, path in run.evaluations().items():
        parts = _parts(experiment, name)
        evaluated = load_evaluation(path)[1]
        lines.append(
            Line(
                _label(experiment, name),
                experiment.data.split,
                "yes" if config_of(_ranking(run, name)).exclude_seen else "no",
                evaluated.means(),
                f"{len(evaluated.users):,}",
                _parameters(run, parts),
                _learning(times, parts, _teachers(experiment, parts)),
                _listing(times, parts),
            )
        )
    return lines


def _parts(experiment: Experiment, name: str) -> Sequence[str]:
    """The lists that a list is made of: itself, where it is not fused."""
    rankers = experiment.rankers.use
    return {FUSED: (OURS, *rankers), RANKERS: rankers}.get(name, (name,))


def _teachers(experiment: Experiment, parts: Sequence[str]) -> Sequence[str]:
    """Rankers that are trained for the language model alone."""
    return [n for n in experiment.distillation.teachers if OURS in parts and n not in parts]


def _label(experiment: Experiment, name: str) -> str:
    """What a row is called; an ensemble says of how many networks, a distilled model that it is
    one."""
    label, model = NAMES.get(name, name), experiment.model
    is_model = name in (OURS, FUSED)
    if is_model and experiment.distillation.teachers:
        label += ", distilled"
    count = model.networks if isinstance(model, ScratchModel) and is_model else 1
    return f"{label}, {count} networks" if count > 1 else label


def others(name: str) -> list[Line]:
    """What was published on these data: figures of other protocols than ours."""
    known = [
        Line(f"{row.model}, {row.retriever} (published)", "paper", "no", dict(row.values))
        for row in published_rows(name, "")
    ]
    tiger = [
        Line("TIGER (published)", "leave-one-out", "–", dict(zip(COLUMNS, values, strict=False)))
        for category, values in TIGER.items()
        if category in name.casefold()
    ]
    return [*known, *tiger]


def comparisons(runs: Sequence[RunFolder]) -> str:
    """How surely our lists are better than the best of the others, and the whole than its parts;
    in the first run of each split."""
    first = {Dataset.load(run.data).split: run for run in reversed(runs)}
    rows = [
        (
            NAMES[ours],
            NAMES[other],
            split,
            each.metric,
            f"{each.difference:+.4f}",
            f"{each.low:+.4f} to {each.high:+.4f}",
            f"{each.p_value:.4f}",
        )
        for split, run in sorted(first.items())
        for ours, other in _pairs(run)
        for each in compare_folders(run.evaluation(ours), run.evaluation(other), COLUMNS[:2])
    ]
    if not rows:
        return ""
    head = ("", "against", "split", "metric", "difference", "95 % interval", "p")
    return f"### Differences, user by user, first seed\n\n{_table(head, rows)}"


def _pairs(run: RunFolder) -> list[tuple[str, str]]:
    found = {name: load_evaluation(path)[1].means() for name, path in run.evaluations().items()}
    ours = [name for name in (FUSED, RANKERS, OURS) if name in found]
    others = [name for name in found if name not in ours]
    best = max(others, key=lambda name: found[name][COLUMNS[0]], default=None)
    parts = [(FUSED, RANKERS)] if FUSED in found and RANKERS in found else []
    return [*((name, best) for name in ours if best), *parts]


def ablation(run: RunFolder) -> str:
    """What each part is worth: the whole, the language model otherwise, and without each ranker."""
    whole = next((each for each in (FUSED, RANKERS, OURS) if each in run.evaluations()), None)
    if whole is None:
        return ""
    made = open_artifact(run.ranking(whole), "ranking")
    config = config_of(made)
    rule = rule_named(config.fusion) if isinstance(config, FusedRankingConfig) else None
    label = f"{NAMES[whole]}, {rule.label}" if rule else NAMES[whole]
    found = {label: load_evaluation(run.evaluation(whole))[1].means()}
    for path in sorted((run.path / "ablations").glob("*-evaluation"), key=_as_told):
        label = _changed(path.name.removesuffix("-evaluation"))
        found[label] = load_evaluation(path)[1].means()
    rows = [(label, *_values(values)) for label, values in found.items()]
    title = f"### Ablation, {Dataset.load(run.data).split}, seed {_seed(run)}"
    return f"{title}\n\n{_table(('', *COLUMNS), rows)}\n\n{_fitted(made)}"


def _as_told(path: Path) -> tuple[str, int, str]:
    """Fewer beams come before more."""
    kind, _, rest = path.name.partition("-")
    count = rest.partition("-")[0]
    return kind, int(count) if count.isdigit() else 0, rest


def _changed(name: str) -> str:
    """What an ablation did, from the name of its folder."""
    if name.startswith(WITHOUT):
        return f"without: {NAMES[name.removeprefix(WITHOUT)]}"
    if name.startswith(ALONE):
        return ALONE_AS[name.removeprefix(ALONE)]
    if name.startswith(BEAMS):
        beams = int(name.removeprefix(BEAMS))
        return f"language model alone: {beams} beam{'s' if beams > 1 else ''}"
    return rule_named(name.removeprefix(BY_RULE)).label


def _fitted(made: Artifact) -> str:
    """What a fusion's fit says of each ranker."""
    weights, gains = (made.summary.get(name, {}) for name in ("weights", "gains"))
    told = [
        f"{NAMES[name]}: " + ", ".join(f"{trait} {value:+.2f}" for trait, value in row.items())
        for name, row in weights.items()
    ]
    told += [f"{NAMES.get(name, name)} {gain:.0%}" for name, gain in gains.items()]
    what = "Fitted weights" if weights else "Share of what the trees' splits gained"
    users = made.summary.get("fitted on users", 0)
    return f"{what}, on {users:,} users: {'; '.join(told)}." if told else ""


def spreads(lines: Sequence[Line]) -> str:
    """Mean and standard deviation over the seeds, for what differs from one to another."""
    rows = [
        (
            name,
            split,
            str(len(same)),
            *(_mean_and_spread([line.values[column] for line in same]) for column in COLUMNS),
        )
        for (name, split), same in _by_seed(lines).items()
        if any(line.values != same[0].values for line in same)
    ]
    if not rows:
        return ""
    return f"### Seeds\n\n{_table(('', 'split', 'seeds', *COLUMNS), rows)}"


def _mean_and_spread(values: Sequence[float]) -> str:
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


def _means(lines: Sequence[Line]) -> list[Line]:
    """One row for all seeds: mean values, and what the first says of the rest."""
    return [
        replace(same[0], values={k: mean(line.values[k] for line in same) for k in same[0].values})
        for same in _by_seed(lines).values()
    ]


def _by_seed(lines: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line.name, line.split), []).append(line)
    return found


def _results(lines: Sequence[Line]) -> str:
    head = ("", "split", "removed", *COLUMNS, "users", "parameters", "training", "lists")
    rows = [
        (
            line.name,
            line.split,
            line.removed,
            *_values(line.values),
            line.users,
            line.parameters,
            line.training,
            line.decoding,
        )
        for line in lines
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As Markdown."""
    told = (f"| {' | '.join(row)} |" for row in (head, *rows))
    return "\n".join([next(told), "|" + "---|" * len(head), *told])


def _values(values: dict[str, float]) -> list[str]:
    return [f"{values[name]:.4f}" if name in values else "–" for name in COLUMNS]


def _order(line: Line) -> tuple[str, float]:
    return line.split, -line.values.get("recall@5", 0.0)


def _ranking(run: RunFolder, name: str) -> Artifact:
    path = run.ranking(name)
    return open_artifact(path if path.is_dir() else run.ranker("test", name), "ranking")


def _parameters(run: RunFolder, parts: Sequence[str]) -> str:
    """Of all that was trained, from the manifests: weights may lie elsewhere."""
    made = {OURS: run.model, **{s.name: run.trained(s.name) for s in SPECS if s.training}}
    manifests = [made[name] / MANIFEST for name in parts if name in made]
    told = [json.loads(m.read_text())["summary"] if m.is_file() else {} for m in manifests]
    if not told or not all("parameters" in summary for summary in told):
        return "–"
    return f"{sum(summary['parameters'] for summary in told):,}"


def _seed(run: RunFolder) -> int:
    return load_experiment(run.config).seed


def _times(run: RunFolder) -> dict[str, Any]:
    file = run.path / TIMES
    times: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return times


def _learning(times: dict[str, Any], parts: Sequence[str], teachers: Sequence[str]) -> str:
    stages = [LEARNED_IN[name] for name in (*parts, *teachers) if name in LEARNED_IN]
    shifted = [f"shifted_run: {stage}" for stage in stages if len(parts) > 1]
    return _seconds(times, [*stages, *shifted])


def _listing(times: dict[str, Any], parts: Sequence[str]) -> str:
    stages = [LISTED_IN.get(name, f"test {name}") for name in parts]
    return _seconds(times, [*stages, *(["fuse"] if len(parts) > 1 else [])])


def _seconds(times: dict[str, Any], stages: Sequence[str]) -> str:
    """The sum of those that were done."""
    done = [times[stage] for stage in stages if stage in times]
    return f"{sum(done):.0f} s" if done else "–"


if __name__ == "__main__":
    main()
