"""Several language models as one: each is asked, and their titles are joined.

Models that differ in nothing but their seed make different mistakes: the mean of their
probabilities is better than any of them. Knows generators; knows neither models nor search.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gloss.config import AS_IT_IS, Decoding, Loading
from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation, Query
from gloss.decoding.generator import TransformersGenerator
from gloss.language.loading import load_networks
from gloss.progress import Progress, part_of, silent
from gloss.prompts import Prompt, PromptBuilder

__all__ = ["EnsembleGenerator", "joined", "open_generator"]


def open_generator(
    model: Path,
    settings: Decoding,
    catalogue: Catalogue | None = None,
    *,
    device: str | None = None,
    loading: Loading = AS_IT_IS,
) -> TransformersGenerator | EnsembleGenerator:
    """The generator of a model folder, of however many networks it holds."""
    first, *others = load_networks(model, device=device, loading=loading)
    if not others:
        return TransformersGenerator(first, settings, catalogue)
    # All that each has found is joined: what one would leave out counts where another writes it.
    whole = settings.model_copy(update={"returned": None})
    # Asked in turn, each takes its part of what those before it have left.
    leader = TransformersGenerator(first, whole, catalogue, share=1 / (1 + len(others)))
    followers = [
        TransformersGenerator(each, whole, catalogue, share=1 / left, trie=leader.trie)
        for each, left in zip(others, range(len(others), 0, -1), strict=True)
    ]
    return EnsembleGenerator([leader, *followers], returned=settings.returned)


class EnsembleGenerator:
    """Networks that share a tokenizer and a template, asked one after the other.

    returned: titles a user, at most; None: all that any of them has written.
    """

    def __init__(
        self, members: Sequence[TransformersGenerator], *, returned: int | None = None
    ) -> None:
        self.members = members
        self.returned = returned

    def prompt_builder(self) -> PromptBuilder:
        """Makes prompts that leave every network room for its answer."""
        return self.members[0].prompt_builder()

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with what the tokenizer puts before it."""
        return self.members[0].count_tokens(text)

    def tokens_a_user(self) -> int:
        """Tokens that the networks together read for a user after the prompt, at most."""
        return sum(member.tokens_a_user() for member in self.members)

    def peak_megabytes(self) -> int:
        """The most memory held so far, by all."""
        return self.members[0].peak_megabytes()

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """What all of them write, joined."""
        written = [
            member.generate(prompts, progress=part_of(progress, number, len(self.members)))
            for number, member in enumerate(self.members)
        ]
        return [joined(each, most=self.returned) for each in zip(*written, strict=True)]


def joined(written: Sequence[Generation], *, most: int | None = None) -> Generation:
    """What several models wrote for one user, as if one had written it; `most` titles at most.

    A title's probability is the mean over the models, a model that did not write it counting as 0.
    Likeliest first; equal ones stand in the order in which the models, first to last, name them.
    Every query must have its log-probability.
    """
    sums: dict[str, float] = {}
    for each in written:
        for query in each.queries:
            assert query.logprob is not None
            sums[query.text] = float(np.logaddexp(sums.get(query.text, -np.inf), query.logprob))
    ranked = sorted(sums.items(), key=lambda found: -found[1])[:most]
    shift = float(np.log(len(written)))
    queries = tuple(Query(text, beam, total - shift) for beam, (text, total) in enumerate(ranked))
    return Generation(written[0].user, written[0].history, queries)
