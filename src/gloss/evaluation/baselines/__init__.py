"""Lists that need no language model: the least that a recommender has to beat. One file each."""

from gloss.evaluation.baselines.last_item import last_item_search
from gloss.evaluation.baselines.popularity import popularity

__all__ = ["last_item_search", "popularity"]
