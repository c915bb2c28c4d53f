"""GLoSS: generative recommendation with semantic search.

The public names are loaded when they are first used, so that importing the package imports neither
torch nor anything else that is heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gloss.data.catalogue import Catalogue, Item
    from gloss.data.dataset import Dataset
    from gloss.errors import GlossError
    from gloss.recommender.recommender import Recommendation, Recommendations, Recommender
    from gloss.recommender.rules import Rules

__all__ = [
    "Catalogue",
    "Dataset",
    "GlossError",
    "Item",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "Rules",
]

_HOMES = {
    "Catalogue": "gloss.data.catalogue",
    "Dataset": "gloss.data.dataset",
    "GlossError": "gloss.errors",
    "Item": "gloss.data.catalogue",
    "Recommendation": "gloss.recommender.recommender",
    "Recommendations": "gloss.recommender.recommender",
    "Recommender": "gloss.recommender.recommender",
    "Rules": "gloss.recommender.rules",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gloss' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
