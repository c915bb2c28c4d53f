"""Every fusion rule, in one tuple: the place to add one."""

from __future__ import annotations

from gloss.errors import ConfigError, did_you_mean
from gloss.fusion import log_linear, reciprocal_rank, trees
from gloss.fusion.rule import FusionRule

__all__ = ["RULES", "rule_named"]

RULES: tuple[FusionRule, ...] = (log_linear.RULE, trees.RULE, reciprocal_rank.RULE)


def rule_named(name: str) -> FusionRule:
    """The rule of that name; ConfigError, naming the nearest, if there is none."""
    for rule in RULES:
        if rule.name == name:
            return rule
    hint = did_you_mean(name, (rule.name for rule in RULES))
    raise ConfigError(f"unknown fusion rule {name!r} ({hint})")
