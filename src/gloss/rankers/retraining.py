"""Training further from old weights: for how long, and whose weights are whose.

A network that was trained on yesterday's purchases begins where it ended, and sees the whole log
again, a quarter as often. The learning rate is that of the first training: half of it, and a tenth
of the epochs, were worth less on three logs (docs/log.md, 2026-11-28). Only the dual encoder goes
on more slowly. What the training is worth stands in docs/howto/update-daily.md.
"""

from __future__ import annotations

import numpy as np

from gloss.arrays import Ints
from gloss.data.catalogue import Catalogue

__all__ = ["known_rows", "shorter"]

_EPOCHS_SHARE = 0.25


def shorter(epochs: int) -> int:
    """The passes of a training that goes on from old weights.

    >>> shorter(12), shorter(5), shorter(1)
    (3, 1, 1)
    """
    return max(1, round(epochs * _EPOCHS_SHARE))


def known_rows(known: Catalogue, catalogue: Catalogue) -> Ints:
    """int64 (catalogue,): the row that each item had in an earlier catalogue, -1 for a new one.

    >>> from gloss.data.catalogue import Item, ItemId
    >>> a, b, c = (Item(ItemId(name), f"Kite {name}") for name in "abc")
    >>> known_rows(Catalogue([a, b]), Catalogue([b, c])).tolist()
    [1, -1]
    """
    rows = (known.row(item.id) if item.id in known else -1 for item in catalogue)
    return np.fromiter(rows, np.int64, len(catalogue))
