"""Several networks as one generator: each writes titles, and their probabilities are averaged.

Networks that differ in their seed only make different mistakes: their mean predicts better than any
of them. Averaging knows generators only, neither models nor search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation, Query
from gloss.decoding.generator import (
    Footprint,
    Generator,
    GeneratorRequest,
    GeneratorSpec,
    OnTitle,
    each_once,
    stream,
)
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.language.loading import load_networks
from gloss.progress import Progress, part_of, silent
from gloss.prompts import Prompt, PromptBuilder

__all__ = ["ENSEMBLE", "EnsembleGenerator", "average"]


class EnsembleGenerator:
    """Generators that share a tokenizer and a template; they run one after the other.

    returned: titles a user, at most; None: all that any of them has written.
    """

    def __init__(self, members: Sequence[Generator], *, returned: int | None = None) -> None:
        self.members = members
        self.returned = returned

    def prompt_builder(self) -> PromptBuilder:
        """See `Generator.prompt_builder`; the members are of one size and leave the same room."""
        return self.members[0].prompt_builder()

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """What all members write, averaged."""
        generations = [
            member.generate(prompts, progress=part_of(progress, number, len(self.members)))
            for number, member in enumerate(self.members)
        ]
        return self._averaged(generations)

    def stream(self, prompts: Sequence[Prompt], on_title: OnTitle) -> list[Generation]:
        """See `StreamingGenerator.stream`: a title is told by the first member that writes it."""
        tell = each_once(on_title)
        return self._averaged([stream(member, prompts, tell) for member in self.members])

    def _averaged(self, generations: Sequence[Sequence[Generation]]) -> list[Generation]:
        return [average(of_user, most=self.returned) for of_user in zip(*generations, strict=True)]

    def within(self, catalogue: Catalogue) -> EnsembleGenerator:
        """See `Generator.within`."""
        members = [member.within(catalogue) for member in self.members]
        return EnsembleGenerator(members, returned=self.returned)

    def footprint(self) -> Footprint:
        """Tokens add up; the members share one device, so that each measures the memory of all."""
        footprints = [member.footprint() for member in self.members]
        return Footprint(
            sum(footprint.new_tokens for footprint in footprints),
            max(footprint.peak_megabytes for footprint in footprints),
        )


def average(generations: Sequence[Generation], *, most: int | None = None) -> Generation:
    """One user's generations by M models as one; `most` titles at most.

    `p(title) = 1/M Σ_m p_m(title)`, where p_m is 0 if model m did not write the title. A title that
    a model wrote twice, in other tokens, counts twice. Likeliest first; equal ones stand in the
    order in which the models, first to last, name them. Every query must have its log-probability.

    >>> from math import exp, log
    >>> first = Generation("u", (), (Query("kite", 0, log(0.5)), Query("ball", 1, log(0.2))))
    >>> second = Generation("u", (), (Query("ball", 0, log(0.6)),))
    >>> [(query.text, round(exp(query.logprob), 2)) for query in average([first, second]).queries]
    [('ball', 0.4), ('kite', 0.25)]
    """
    sums: dict[str, float] = {}
    for generation in generations:
        for query in generation.queries:
            assert query.logprob is not None
            # Sums of logarithms: many probabilities are too small for a float.
            sums[query.text] = float(np.logaddexp(sums.get(query.text, -np.inf), query.logprob))
    ranked = sorted(sums.items(), key=lambda title_sum: -title_sum[1])[:most]
    log_models = float(np.log(len(generations)))
    queries = tuple(
        Query(text, beam, log_sum - log_models) for beam, (text, log_sum) in enumerate(ranked)
    )
    return Generation(generations[0].user, generations[0].history, queries)


def _open(request: GeneratorRequest) -> EnsembleGenerator:
    networks = load_networks(request.model, device=request.device, loading=request.loading)
    # Every member returns all its beams: a title that it ranks low may be another's best.
    settings = request.settings.model_copy(update={"returned": None})
    members: list[TransformersGenerator] = []
    for number, network in enumerate(networks):
        members.append(
            TransformersGenerator(
                network,
                settings,
                request.catalogue,
                # Members run in turn and keep their caches: each gets its part of what is left.
                memory_share=1 / (len(networks) - number),
                trie=members[0].trie if members else None,
            )
        )
    return EnsembleGenerator(members, returned=request.settings.returned)


def _has_several_networks(request: GeneratorRequest) -> bool:
    """Whether a model folder holds a second network; `language/loading.py` says how they lie."""
    return (request.model / "network-1").is_dir()


ENSEMBLE = GeneratorSpec(serves=_has_several_networks, open=_open)
