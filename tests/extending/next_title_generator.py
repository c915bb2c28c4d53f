"""A generator without a language model: it writes what others bought right after the last title."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log

from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation, Query
from gloss.decoding.generator import Footprint, GeneratorRequest, GeneratorSpec
from gloss.progress import Progress, silent
from gloss.prompts import TITLES_ONLY, Prompt, PromptBuilder

FILE = "next-titles.json"


class NextTitleGenerator:
    """`p(next | title)` by counting: counts[title][next] purchases of one right after the other."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]], *, returned: int) -> None:
        self.counts = counts
        self.returned = returned

    def prompt_builder(self) -> PromptBuilder:
        # One title a line. A token is a line here, and only the last title is read: the header's
        # empty line and one title are all that a prompt needs.
        return PromptBuilder(TITLES_ONLY, count_tokens=lambda text: text.count("\n"), max_tokens=2)

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        generations = []
        for prompt in prompts:
            queries = self._queries(prompt.text.splitlines()[-1])
            generations.append(Generation(prompt.user, prompt.history, queries))
            progress(len(generations), len(prompts))
        return generations

    def within(self, catalogue: Catalogue) -> NextTitleGenerator:
        kept = {
            title: {text: count for text, count in counts.items() if text in catalogue.titles}
            for title, counts in self.counts.items()
        }
        return NextTitleGenerator(kept, returned=self.returned)

    def footprint(self) -> Footprint:
        return Footprint(new_tokens=self.returned, peak_megabytes=0)

    def _queries(self, title: str) -> tuple[Query, ...]:
        counts = Counter(self.counts.get(title, {}))
        return tuple(
            Query(following, beam, log(count / counts.total()))
            for beam, (following, count) in enumerate(counts.most_common(self.returned))
        )


def _open(request: GeneratorRequest) -> NextTitleGenerator:
    counts = json.loads((request.model / FILE).read_text("utf-8"))
    returned = request.settings.returned or request.settings.beams
    return NextTitleGenerator(counts, returned=returned)


NEXT_TITLE = GeneratorSpec(serves=lambda request: (request.model / FILE).is_file(), open=_open)
