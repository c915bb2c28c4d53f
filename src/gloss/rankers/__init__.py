"""RankingTable that need no language model: the least that a recommender has to beat. One file
each.

Not named here is `sasrec`, which needs torch.
"""

from gloss.rankers.last_item import last_item_search
from gloss.rankers.popularity import popularity
from gloss.rankers.title_similarity import similar_titles
from gloss.rankers.transitions import build_graph, transitions

__all__ = ["build_graph", "last_item_search", "popularity", "similar_titles", "transitions"]
