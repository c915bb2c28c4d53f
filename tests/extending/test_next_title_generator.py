from __future__ import annotations

import json
from math import exp

import pytest

from extending.next_title_generator import FILE, NEXT_TITLE
from gloss.config import Decoding
from gloss.decoding import open as opening
from gloss.testing.generators import GeneratorContract

COUNTS = {"Red kite": {"String": 3, "Red ball": 1}, "Tea pot": {"Cup": 1}}


@pytest.fixture
def generator(tmp_path, monkeypatch):
    """A model folder of the new kind, opened as every command opens one."""
    monkeypatch.setattr(opening, "GENERATORS", (NEXT_TITLE, *opening.GENERATORS))
    (tmp_path / FILE).write_text(json.dumps(COUNTS), "utf-8")
    return opening.open_generator(tmp_path, Decoding(beams=5))


class TestNextTitleGenerator(GeneratorContract):
    @pytest.fixture
    def prompts(self, generator):
        builder = generator.prompt_builder()
        return [builder.build("u", ("b1",), ["Red kite"]), builder.build("v", (), ["Tea pot"])]


def test_the_likeliest_next_title_comes_first(generator):
    prompt = generator.prompt_builder().build("u", (), ["Tea pot", "Cup", "Red kite"])
    (generation,) = generator.generate([prompt])
    assert [query.text for query in generation.queries] == ["String", "Red ball"]
    probabilities = [exp(query.logprob) for query in generation.queries]
    assert probabilities == pytest.approx([3 / (3 + 1), 1 / (3 + 1)])
