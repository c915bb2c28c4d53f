"""What became of everything that was tried: counted, judged, and printed as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from processes import Ended

__all__ = ["BAD", "GOOD", "Row", "judged", "table_of"]

GOOD = ("well", "refused", "killed")
"""It ended as if nothing had been done to it; with one clear line; it was killed, as was meant."""

BAD = ("lost", "changed", "ran", "traceback", "words", "death", "hang")
"""What stood there is gone; something else came out of it than should have, in silence; foreign
code ran, a process was started, a connection was sought; Python's traceback; a failure without one
clear line; a signal ended it; it was over its limit."""

_EXAMPLES = 5


@dataclass(slots=True)
class Row:
    """What became of one kind of trial. examples: of what is bad, with what repeats it."""

    part: str
    case: str
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, outcome: str, example: str = "") -> None:
        """Count a trial; example: what was done, and what was said."""
        assert outcome in GOOD + BAD, outcome
        self.outcomes[outcome] += 1
        if outcome in BAD and len(self.examples) < _EXAMPLES:
            self.examples.append(f"{outcome}: {example}")

    @property
    def tried(self) -> int:
        """All trials."""
        return self.outcomes.total()

    @property
    def bad(self) -> int:
        """Trials that ended as none may."""
        return sum(self.outcomes[name] for name in BAD)

    def to_json(self) -> dict[str, object]:
        """For `campaign.json`."""
        counts = {name: self.outcomes[name] for name in GOOD + BAD}
        return {
            "part": self.part,
            "case": self.case,
            "tried": self.tried,
            **counts,
            "examples": self.examples,
        }


def judged(ended: Ended) -> str:
    """How a process ended: well, with one clear line, or badly."""
    if "watched: " in ended.stderr:
        return "ran"
    if ended.hung:
        return "hang"
    if ended.code is None:
        return "death"
    if ended.code == 99 or "Traceback (most recent call last)" in ended.stderr:
        return "traceback"
    if ended.code == 0:
        return "well"
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    is_clear = len(lines) == 1 and ended.stderr.rstrip().endswith(lines[0].rstrip())
    return "refused" if is_clear and "\x1b" not in lines[0] else "words"


def table_of(rows: Sequence[Row]) -> str:
    """One line a row under the names of the outcomes; then what is bad, in words."""
    names = ("tried", *GOOD, *BAD)
    width = max([len(f"{row.part}: {row.case}") for row in rows], default=0)
    lines = [" " * width + "".join(f"{name:>11}" for name in names)]
    for row in rows:
        counts = (row.tried, *(row.outcomes[name] for name in GOOD + BAD))
        cells = "".join(f"{count or '':>11}" for count in counts)
        lines.append(f"{row.part + ': ' + row.case:<{width}}{cells}")
    lines += [f"{row.part}: {row.case}: {each}" for row in rows for each in row.examples]
    return "\n".join(lines)
