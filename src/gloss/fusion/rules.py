"""Every fusion rule, in one tuple: the place to add one."""

from __future__ import annotations

from gloss.errors import named
from gloss.fusion import log_linear, reciprocal_rank, trees
from gloss.fusion.rule import FusionRule

__all__ = ["RULES", "affordable", "rule_named"]

RULES: tuple[FusionRule, ...] = (log_linear.RULE, trees.RULE, reciprocal_rank.RULE)


def affordable(rule: FusionRule, *, users: int, rankers: int) -> FusionRule:
    """The rule, or where there are too few users to fit it, the best that fewer can.

    users: those with an answer in a list. Ranks need nobody.
    """
    chain = (rule, log_linear.RULE, reciprocal_rank.RULE)
    return next(each for each in chain if users >= each.min_users(rankers))


def rule_named(name: str) -> FusionRule:
    """The rule of that name; ConfigError, naming the nearest, if there is none."""
    return named(name, RULES, what="fusion rule")
