"""The stage `fuse`: one ranking out of several of the same users."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe, open_artifact
from gloss.data.catalogue import ItemId
from gloss.data.dataset import Dataset
from gloss.data.histories import Example, History
from gloss.errors import ConfigError, InputError
from gloss.experiment.fusion_guard import Guarded, guarded
from gloss.fusion.rule import FusionRequest, FusionRule, NewItems
from gloss.rankers.specs import RANKERS
from gloss.rankings import files as rankings
from gloss.rankings.records import (
    FUSED_LIST,
    OURS,
    FusedRankingConfig,
    FusionSummary,
    config_of,
)

__all__ = ["fuse"]

_LOG = logging.getLogger(__name__)


def fuse(
    ranked: Sequence[Path],
    validation: Sequence[Path],
    dataset: Path,
    out: Path,
    *,
    rule: FusionRule,
    length: int,
    shifted_run: Path | None = None,
    guard: bool = False,
    new_items: float = 0.0,
) -> Artifact:
    """One ranking out of several of the same users: the ranking at `out`.

    validation: the lists of the same rankers, in the same order, for validation users, on whom the
    rule is fitted; a rule that fits nothing needs none. shifted_run: the data set of these
    validation users, where it is another: the same purchases, split otherwise. guard: whether the
    rule is fitted where users suffice only, and the summary says if the fused list is served
    (fusion_guard.py). new_items: the share of the items that the fit meets as new ones, where the
    rule can (fusion/new_items.py). Raises InputError when the two do not match, MissingExtraError
    when the rule needs what is not installed.
    """
    data, fitted_on = Dataset.load(dataset), Dataset.load(shifted_run or dataset)
    tested = [_ranking_of(data, path) for path in ranked]
    fitted = [_ranking_of(fitted_on, path) for path in validation]
    _require_pairs(tested, fitted, rule)
    made = [config_of(each) for each in tested]
    exclude_seen = all(each.exclude_seen for each in made)
    config = FusedRankingConfig(
        fusion=rule.name,
        rankers=tuple(each.made_by for each in made),
        features=rule.features_of(exclude_seen=exclude_seen),
        split=made[0].split,
        length=length,
        exclude_seen=exclude_seen,
        guard=guard or None,
        new_items=new_items if rule.meets_new_items and new_items else None,
    )

    def fill(draft: Draft) -> None:
        examples = _examples(fitted, fitted_on, rule, guard=guard, new_items=config.new_items)
        found = Guarded(rule, FUSED_LIST, "")
        if guard:
            found = guarded(rule, *examples, config.rankers, length=length)
        joined = found.rule.fit(*examples)
        request, _ = _request(tested, data)
        rankings.write_rankings(
            draft,
            joined.fuse(request, length=length),
            summary={**joined.summary(config.rankers), **_summary(found, rule)},
            extra_files=joined.files(),
        )

    inputs = _inputs(data, fitted_on, tested, fitted)
    made_now = Recipe(rankings.KIND, config.to_json(), inputs).make(out, fill)
    _say(FusionSummary.of(made_now))
    return made_now


def _summary(found: Guarded, wanted: FusionRule) -> dict[str, Any]:
    """What the guard has found, where there was one."""
    if not found.why:
        return {}
    rule = None if found.rule is wanted else found.rule.name
    return FusionSummary(rule=rule, served=found.served, why=found.why).to_json()


def _say(found: FusionSummary) -> None:
    """Log what is not as the configuration wants it, also where it was found out before."""
    if found.rule or found.served != FUSED_LIST:
        _LOG.warning("%s", found.why)


def _ranking_of(data: Dataset, path: Path) -> Artifact:
    artifact = open_artifact(path, rankings.KIND)
    artifact.require_input("dataset", data.fingerprint, f"the data set {data.path}")
    return artifact


def _require_pairs(
    tested: Sequence[Artifact], fitted: Sequence[Artifact], rule: FusionRule
) -> None:
    if not tested:
        raise ConfigError("name the rankings to fuse")
    if not rule.needs_validation and not fitted:
        return
    names = tuple([config_of(each).made_by for each in ranked] for ranked in (tested, fitted))
    if names[0] != names[1]:
        raise ConfigError(
            f"the validation rankings are not those of the same rankers in the same order: "
            f"{', '.join(names[0])} against {', '.join(names[1]) or 'none'}"
        )
    for each in fitted:
        split = config_of(each).split
        if split != "validation":
            raise InputError(
                f"{each.path} is of the {split} split: weights are fitted on validation users alone"
            )


def _inputs(
    data: Dataset, fitted_on: Dataset, tested: Sequence[Artifact], fitted: Sequence[Artifact]
) -> dict[str, str]:
    inputs = {"dataset": data.fingerprint}
    if fitted_on.fingerprint != data.fingerprint:
        inputs["shifted_run"] = fitted_on.fingerprint
    for role, artifacts in (("ranking", tested), ("validation", fitted)):
        inputs |= {f"{role} {n}": each.fingerprint for n, each in enumerate(artifacts, 1)}
    return inputs


def _examples(
    fitted: Sequence[Artifact],
    data: Dataset,
    rule: FusionRule,
    *,
    guard: bool,
    new_items: float | None,
) -> tuple[FusionRequest, list[ItemId]]:
    """What a rule is fitted on and guarded by: lists, and what their users bought next."""
    if not (rule.needs_validation or guard):
        return FusionRequest((), (), {}), []
    request, examples = _request(fitted, data)
    if new_items:
        listed_by = tuple(_lists_new_items(config_of(each).made_by) for each in fitted)
        request = replace(request, new_items=NewItems(new_items, listed_by))
    return request, [example.target for example in examples]


def _lists_new_items(name: str) -> bool:
    """Whether lists of that name may hold items that nobody has bought yet. The language model
    writes any title of the catalogue; of other programs it is not known."""
    spec = {spec.name: spec for spec in RANKERS}.get(name)
    return name == OURS if spec is None else spec.lists_new_items


def _request(ranked: Sequence[Artifact], data: Dataset) -> tuple[FusionRequest, Sequence[Example]]:
    """Rankings of one split, with what is known of their users, and the examples of the split."""
    lists = [rankings.read_table(ranking) for ranking in ranked]
    made = [config_of(each) for each in ranked]
    examples = data.examples(made[0].split).of_users(lists[0].users)
    histories = [History(example.user, example.history) for example in examples]
    exclude_seen = all(each.exclude_seen for each in made)
    return FusionRequest(lists, histories, _times_bought(data), exclude_seen), examples


def _times_bought(data: Dataset) -> dict[ItemId, int]:
    """How often a model may see each item that was bought at all."""
    counts = zip(data.item_ids, data.times_bought().tolist(), strict=True)
    return {item: count for item, count in counts if count}
