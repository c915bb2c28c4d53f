"""`gloss compare --log`: what people bought after lists of one recommender, and of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from gloss.errors import require_extra

if TYPE_CHECKING:
    from gloss.evaluation.groups import GroupComparison
    from gloss.serving.conversions import LogComparison

__all__ = ["compare_state"]


def compare_state(
    state: str,
    names: Sequence[str],
    metrics: Sequence[str] | None,
    *,
    days: float,
    resamples: int,
    seed: int,
    json: bool,
) -> None:
    """Compare two recommenders by the log of a service's state, and print it."""
    require_extra("the state of a service", "serve", "sqlalchemy", "alembic")
    from gloss.cli import output
    from gloss.serving.conversions import METRICS, compare_log
    from gloss.serving.state.exposures import ExposureLog
    from gloss.serving.state.store import existing_database

    with existing_database(state) as engine:
        made = compare_log(
            ExposureLog(engine).users(),
            names,
            metrics=metrics or METRICS,
            days=days,
            resamples=resamples,
            seed=seed,
        )
    if json:
        output.print_json(asdict(made))
    else:
        _print(made, days)


def _print(made: LogComparison, days: float) -> None:
    from gloss.cli import output

    users = made.comparisons[0].users
    for letter, name, of_users, lists in zip("AB", made.names, users, made.lists, strict=True):
        output.print_line(f"{letter}  {name}: {of_users:,} users, {lists:,} lists")
    if made.is_shadow:
        output.print_line("B was asked for the log alone: people saw A's lists, which favours A")
    if made.in_both:
        output.print_line(f"{made.in_both:,} users were shown lists of both, and are left out")
    output.print_line(f"followed by a purchase within {days:g} days")
    for each in made.comparisons:
        output.print_line(f"{each.metric}: {_sentence(each)}")


def _sentence(found: GroupComparison) -> str:
    return (
        f"A {found.first:.4f}, B {found.second:.4f}; A - B {found.difference:+.4f} "
        f"(95 %: {found.low:+.4f} to {found.high:+.4f}), p {found.p_value:.4f}"
    )
