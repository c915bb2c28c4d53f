"""Whether people buy again what they had: what decides if lists leave it out, where nobody says."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KEPT_FROM", "MIN_ANSWERS", "RepeatedAnswers"]

KEPT_FROM = 0.05
"""The share of repeats among the answers from which lists keep what was bought.

Where nobody buys again, leaving bought items out is worth about 10 % of a list's hits
(README.md); where a share s of the answers are repeats, it loses all hits among these. If
repeats were as hard to find as other answers, the two would balance at s = 0.1 / 1.1 = 9 %; they
are about twice as easy, as a person's own purchases are few. That halves the share.
"""


MIN_ANSWERS = 100
"""Validation answers that are enough to judge by: of 100, a share of 5 % is known to about 2 %."""


@dataclass(frozen=True, slots=True)
class RepeatedAnswers:
    """Answers that models may look at, and how many of them their users had bought before.

    The validation answers; where they are fewer than `MIN_ANSWERS`, the last purchases that are
    trained on, if these are more.
    """

    answers: int
    repeated: int

    @property
    def share(self) -> float:
        """Of repeats among the answers; 0 without answers."""
        return self.repeated / self.answers if self.answers else 0.0

    @property
    def are_common(self) -> bool:
        """Whether lists should keep what was bought."""
        return self.share >= KEPT_FROM
