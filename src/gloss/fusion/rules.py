"""Every fusion rule, in one tuple: the place to add one."""

from __future__ import annotations

from gloss.errors import named
from gloss.fusion import log_linear, reciprocal_rank, trees
from gloss.fusion.rule import FusionRule

__all__ = ["RULES", "rule_named"]

RULES: tuple[FusionRule, ...] = (log_linear.RULE, trees.RULE, reciprocal_rank.RULE)


def rule_named(name: str) -> FusionRule:
    """The rule of that name; ConfigError, naming the nearest, if there is none."""
    return named(name, RULES, what="fusion rule")
