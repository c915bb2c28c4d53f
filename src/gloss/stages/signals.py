"""The stages `train_sasrec`, `signal` and `fuse`: lists without a language model, and one of many.

Needs torch for "sasrec" only, and imports it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, creating, open_artifact
from gloss.config import FusionRule, SASRec, Signals
from gloss.data.dataset import Dataset, SplitName
from gloss.data.histories import times_bought
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError, require_extra
from gloss.evaluation import blending, boosting
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.evaluation.signals import (
    SASREC,
    SIGNALS,
    TRAINED,
    Sources,
    network_file,
    signal_named,
)
from gloss.progress import Progress, silent
from gloss.retrieval import rankings
from gloss.retrieval.lists import Lists
from gloss.stages.making import made_once, require_not_replaced

__all__ = ["SIGNALS", "fuse", "needs_vectors", "signal", "train_sasrec"]

_CHECKPOINTS = "checkpoints"


def needs_vectors(signals: Signals) -> bool:
    """Whether any signal in use reads vectors of titles of an encoder as it came."""
    return "text" in signals.use or (SASREC in signals.use and signals.sasrec.text)


def train_sasrec(
    dataset: Path,
    out: Path,
    *,
    settings: SASRec,
    titles: TitleStyle,
    seed: int,
    index: Path | None = None,
    replace: bool = True,
    progress: Progress = silent,
) -> Artifact:
    """Train SASRec on a data set, `settings.networks` times: the networks at `out`.

    index: an index by meaning, whose title vectors are read, as `settings.text` requires. replace:
    whether networks of other settings or data that stand at `out` may go; InputError if not.
    """
    require_extra("SASRec", "train", "torch", "safetensors")
    from gloss.evaluation.baselines.sasrec import (
        count_parameters,
        save_network,
        train_network,
    )

    data = Dataset.load(dataset)
    sources = Sources(data, titles, index=index)
    inputs = {"dataset": data.fingerprint}
    if settings.text:
        inputs["index"] = sources.meaning.fingerprint
    config = {"titles": titles, "seed": seed, **settings.model_dump(mode="json")}
    if not replace:
        require_not_replaced(out, SASREC, config, inputs, "trained networks")

    def make() -> None:
        with creating(
            out, kind=SASREC, config=config, inputs=inputs, scratch=(_CHECKPOINTS,)
        ) as draft:
            (draft.path / _CHECKPOINTS).mkdir(exist_ok=True)
            for number in range(settings.networks):
                if draft.is_finished(network_file(number)):
                    continue
                network, losses = train_network(
                    data.train(),
                    sources.catalogue,
                    vectors=sources.vectors if settings.text else None,
                    settings=settings,
                    seed=seed + number,
                    checkpoint=draft.path / _CHECKPOINTS / f"{number}.pt",
                    progress=progress,
                )
                draft.write_lines(f"losses-{number}.jsonl", losses)
                whole = draft.path / _CHECKPOINTS / network_file(number)
                save_network(network, whole)
                whole.replace(draft.path / network_file(number))
                names = [network_file(number), f"losses-{number}.jsonl"]
                draft.finish(network_file(number), names)
            draft.summary["parameters"] = count_parameters(draft.path / network_file(0))

    return made_once(out, SASREC, config, inputs, make, is_work=True)


def signal(
    name: str,
    dataset: Path,
    out: Path,
    *,
    signals: Signals,
    protocol: EvaluationProtocol,
    split: SplitName = "test",
    index: Path | None = None,
    encoder: Path | None = None,
    networks: Path | None = None,
    limit_users: int | None = None,
    progress: Progress = silent,
) -> Artifact:
    """Rank without a language model by one of `SIGNALS`: the ranking at `out`.

    index: an index by meaning, for signals that read title vectors; encoder: made by `tune`, for
    "tuned"; networks: made by `train_sasrec`, for "sasrec".
    """
    which = signal_named(name)
    data = Dataset.load(dataset)
    sources = Sources(data, protocol.title_style, index=index, encoder=encoder, networks=networks)
    settings = signals.two_step if which == "two-step" else signals.transitions
    config = {
        "baseline": which,
        "split": split,
        "titles": protocol.title_style,
        "length": protocol.length,
        "exclude_seen": protocol.exclude_seen,
        "limit_users": limit_users,
        "settings": None if which in TRAINED else settings.model_dump(mode="json"),
    }
    inputs = sources.inputs(which)

    def make() -> None:
        lists = sources.signal(which, settings)(
            data.examples(split, limit=limit_users),
            length=protocol.length,
            exclude_seen=protocol.exclude_seen,
            progress=progress,
        )
        rankings.save_rankings(out, lists, config=config, inputs=inputs, summary={})

    return made_once(out, rankings.KIND, config, inputs, make)


def fuse(
    signals: Sequence[Path],
    validation: Sequence[Path],
    dataset: Path,
    out: Path,
    *,
    rule: FusionRule,
    length: int,
    rehearsal: Path | None = None,
) -> Artifact:
    """One ranking out of several of the same users: the ranking at `out`.

    validation: what made `signals` asked of validation users, in the same order; weights and trees
    are fitted there. The rule "rank" fits nothing and needs none. rehearsal: the data set whose
    validation users were asked, where it is another: the same purchases, split otherwise. Raises
    InputError when the two do not match, MissingExtraError for the rule "trees" without lightgbm.
    """
    data = Dataset.load(dataset)
    rehearsed = Dataset.load(rehearsal or dataset)
    tested = [_ranking_of(data, path) for path in signals]
    fitted = [_ranking_of(rehearsed, path) for path in validation]
    _require_pairs(tested, fitted, rule)
    config = {
        "fusion": rule,
        "signals": [_name(each) for each in tested],
        "split": tested[0].config["split"],
        "length": length,
        "exclude_seen": all(each.config["exclude_seen"] for each in tested),
    }
    if rule == "trees":
        config["traits"] = [*boosting.TRAITS, *boosting.BESIDE]
    inputs = {"dataset": data.fingerprint}
    if rehearsed.fingerprint != data.fingerprint:
        inputs["rehearsal"] = rehearsed.fingerprint
    for role, artifacts in (("ranking", tested), ("validation", fitted)):
        inputs |= {f"{role} {n}": each.fingerprint for n, each in enumerate(artifacts, 1)}

    def make() -> None:
        lists = [_read(each) for each in tested]
        known = [_read(each) for each in fitted] if rule != "rank" else []
        answers = rehearsed.examples("validation", limit=len(known[0])) if known else ()
        summary: dict[str, Any] = {}
        beside: dict[str, str] = {}
        if rule == "rank":
            fused = blending.rank_fusion(lists, length=length)
        elif rule == "trees":
            trees = boosting.fit(known, answers, times_bought(rehearsed.train()))
            asked = data.examples(config["split"], limit=len(lists[0]))
            bought = times_bought(data.train())
            fused = boosting.blend(lists, asked, trees, bought, length=length)
            summary, beside = trees.summary(config["signals"]), {boosting.FILE: trees.text}
        else:
            weights = blending.fit(known, answers)
            fused = blending.blend(lists, weights, length=length)
            summary = weights.summary(config["signals"])
        rankings.save_rankings(
            out, fused, config=config, inputs=inputs, summary=summary, beside=beside
        )

    return made_once(out, rankings.KIND, config, inputs, make)


def _ranking_of(data: Dataset, path: Path) -> Artifact:
    artifact = open_artifact(path, rankings.KIND)
    artifact.require_input("dataset", data.fingerprint, f"the data set {data.path}")
    return artifact


def _require_pairs(
    tested: Sequence[Artifact], fitted: Sequence[Artifact], rule: FusionRule
) -> None:
    if not tested:
        raise ConfigError("name the rankings to fuse")
    if rule == "rank" and not fitted:
        return
    names = [_name(each) for each in tested], [_name(each) for each in fitted]
    if names[0] != names[1]:
        raise ConfigError(
            f"the validation rankings are not those of the same signals in the same order: "
            f"{', '.join(names[0])} against {', '.join(names[1]) or 'none'}"
        )
    for each in fitted:
        if each.config["split"] != "validation":
            raise InputError(
                f"{each.path} is of the {each.config['split']} split: weights are "
                "fitted on validation users alone"
            )


def _name(ranking: Artifact) -> str:
    """The signal that made a ranking; the language model has no other name."""
    return str(ranking.config.get("baseline") or "gloss")


def _read(ranking: Artifact) -> Lists:
    return rankings.load_rankings(ranking.path)[1]
