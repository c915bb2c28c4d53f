"""Rankings and targets in TREC's formats, which ranx, ir_measures and trec_eval read.

run.txt       user Q0 item rank score tag      one line an entry
qrels.txt     user 0 item 1                    one line a user

Both are separated by spaces, so an id with white space in it cannot be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gloss.data.histories import Example
from gloss.errors import InputError
from gloss.rankings.ranking import Ranking

__all__ = ["QRELS", "RUN", "qrels_lines", "run_lines"]

RUN, QRELS = "run.txt", "qrels.txt"


def run_lines(rankings: Sequence[Ranking], *, tag: str) -> Iterator[str]:
    """A line for each entry of each list; users with an empty list have none.

    Readers order by score and break ties each in its own way, so the score written is made from the
    rank: the length of the longest list for the first item, one less for each that follows. It
    keeps our order everywhere. Raises InputError for an id or a tag with white space in it.
    """
    longest = max((len(ranking.entries) for ranking in rankings), default=0)
    word = _word(tag)
    for ranking in rankings:
        user = _word(ranking.user)
        for rank, entry in enumerate(ranking.entries, 1):
            yield f"{user} Q0 {_word(entry.item)} {rank} {longest + 1 - rank} {word}"


def qrels_lines(examples: Sequence[Example]) -> Iterator[str]:
    """A line for each user: what they bought next is relevant, all else is not."""
    return (f"{_word(example.user)} 0 {_word(example.target)} 1" for example in examples)


def _word(text: str) -> str:
    if len(text.split()) != 1 or text != text.strip():
        raise InputError(
            f"{text!r} has white space in it (or is empty): TREC's formats cannot hold it"
        )
    return text
