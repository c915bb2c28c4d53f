"""Two recommenders behind one service: which of them a user is given, and both as one.

Knows what the service asks of a recommender; knows no request and no log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.errors import ConfigError
from gloss.recommender.recommender import Recommendations
from gloss.recommender.rules import Rules
from gloss.retrieval.retriever import Hit
from gloss.serving.served import OnTitle, Served

__all__ = ["Experiment", "ServedArms", "arm_of", "parse_split"]

_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Experiment:
    """Which of two recommenders a user is given.

    names: of the recommenders, A and B; share: of the users who are given A. In a shadow experiment
    everybody is given A, and B is asked too, for the log alone.
    """

    names: tuple[str, str]
    share: float = 0.5
    is_shadow: bool = False

    def arm(self, user: str) -> int:
        """0 for A, 1 for B: the same for a user at each request, each start and on each machine.

        The share of SHA-256(names, user) decides: it depends on the names, so that two experiments
        divide users differently, and not on the bundles' content, so that a bundle that is brought
        up to date keeps its users.

        >>> experiment = Experiment(("today", "new"), share=0.9)
        >>> sum(experiment.arm(f"user {number}") for number in range(1000))
        99
        """
        if self.is_shadow:
            return 0
        digest = sha256("\0".join((*self.names, user)).encode("utf-8", "replace")).digest()
        place = int.from_bytes(digest[:_HASH_BYTES], "big") / 256**_HASH_BYTES  # [0, 1]
        return 0 if place < self.share else 1


def parse_split(text: str) -> float:
    """The share of A: "90/10" is 0.9. Raises ConfigError.

    >>> parse_split("90/10"), parse_split("1/1")
    (0.9, 0.5)
    """
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and int(first) + int(second)):
        raise ConfigError(f"a split is two whole numbers, as 90/10, not {text!r}")
    return int(first) / (int(first) + int(second))


@dataclass(frozen=True, slots=True)
class ServedArms:
    """Two recommenders as one that is opened, changed and replaced with both; A answers for it.

    catalogue: A's items, then those that only B knows.
    """

    arms: tuple[Served, Served]
    catalogue: Catalogue

    @classmethod
    def of(cls, first: Served, second: Served) -> ServedArms:
        """Both; changes of the catalogue are made in both."""
        return cls((first, second), _joined(first.catalogue, second.catalogue))

    @classmethod
    def opener(
        cls, first: Callable[[], Served], second: Callable[[], Served]
    ) -> Callable[[], ServedArms]:
        """What opens both."""
        return lambda: cls.of(first(), second())

    @property
    def fingerprint(self) -> str:
        return "+".join(arm.fingerprint for arm in self.arms)

    @property
    def has_diversity(self) -> bool:
        return all(arm.has_diversity for arm in self.arms)

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        *,
        rules: Rules,
        wish: str | None,
        on_title: OnTitle | None = None,
    ) -> list[Recommendations]:
        first = self.arms[0]
        return first.recommend(histories, k, rules=rules, wish=wish, on_title=on_title)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        return self.arms[0].search(texts, k)

    def changed(self, edited: Sequence[Item], off: Collection[ItemId]) -> ServedArms:
        first, second = (arm.changed(edited, off) for arm in self.arms)
        return ServedArms.of(first, second)


def arm_of(served: Served, number: int) -> Served:
    """The recommender of an arm: of one that is alone, itself."""
    return served.arms[number] if isinstance(served, ServedArms) else served


def _joined(first: Catalogue, second: Catalogue) -> Catalogue:
    more = [item for item in second if item.id not in first]
    return Catalogue((*first, *more)) if more else first
