"""The evaluation protocol `cold-items`: how items are found that came after all training.

Some items are held out of everything that is trained, then added as a shop adds them. Two groups of
answers are measured, each list by itself:

- cold: what the user bought next is one of these items;
- others: it is not, and the same users were asked before the items came, so that what the newcomers
  cost is the mean of paired differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gloss.evaluation.evaluate import Evaluation, figures
from gloss.evaluation.significance import compare
from gloss.rankings.records import FUSED_LIST

__all__ = ["NAME", "ColdItemsEvaluation"]

NAME = "cold-items"
"""The protocol's name."""

_COMPARED = ("recall@", "ndcg@")


@dataclass(frozen=True, slots=True, eq=False)
class ColdItemsEvaluation:
    """What each list is worth, by its name; the fused one is `FUSED_LIST`, where there is one.

    cold: among cold answers. before, after: among all others, without and with the new items, for
    the same users.
    """

    cold: Mapping[str, Evaluation]
    before: Mapping[str, Evaluation]
    after: Mapping[str, Evaluation]

    def figures(self) -> dict[str, Any]:
        """As JSON: means with their intervals, and paired comparisons of Recall and NDCG.

        "cold": of each list, and of the fused list against it ("fused"). "others": of each list
        "before" and "after", and their difference, after - before.
        """
        return {
            "cold": {name: self._cold(name) for name in self.cold},
            "others": {name: self._other(name) for name in self.after},
        }

    def _cold(self, name: str) -> dict[str, Any]:
        measured = figures(self.cold[name])
        if FUSED_LIST not in self.cold or name == FUSED_LIST or not measured["users"]:
            return measured
        return {**measured, "fused": dict(_compared(self.cold[FUSED_LIST], self.cold[name]))}

    def _other(self, name: str) -> dict[str, Any]:
        before, after = self.before[name], self.after[name]
        return {
            "before": figures(before),
            "after": figures(after),
            "difference": dict(_compared(after, before)),
        }


def _compared(first: Evaluation, second: Evaluation) -> Iterator[tuple[str, dict[str, Any]]]:
    for metric in first.values:
        if metric.startswith(_COMPARED):
            yield metric, asdict(compare(first, second, metric))
