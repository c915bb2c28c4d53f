from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from gloss.config import Decoding
from gloss.decoding import exhaustive
from gloss.decoding.beams import BeamSettings
from gloss.decoding.exhaustive import ExhaustiveSearch
from gloss.decoding.title_trie import TitleTrie
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.errors import ConfigError

END, VOCABULARY = 0, 12
CLOSE = 1e-4
TITLES = st.lists(st.lists(st.integers(1, 11), max_size=6), min_size=1, max_size=25)
PROMPTS = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=9), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request):
    torch.manual_seed(1)
    if request.param == "gpt2":
        shape = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=64)
        return GPT2LMHeadModel(shape).eval()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.4,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


def search_of(model, titles, *, returned=1, penalty=0.0) -> ExhaustiveSearch:
    trie = TitleTrie.build(titles, end=END, vocabulary=VOCABULARY)
    return ExhaustiveSearch(model, BeamSettings(returned, returned, 6, penalty, END), trie)


def brute_force(model, prompt: Sequence[int], title: Sequence[int]) -> float:
    """The log-probability of one title by a forward pass of its own."""
    read = torch.tensor([[*prompt, *title, END]])
    with torch.inference_mode():
        chances = model(read[:, :-1]).logits[0].log_softmax(-1)
    steps = len(title) + 1
    return float(chances[-steps:].gather(1, read[0, -steps:, None]).sum())


@settings(max_examples=25, deadline=None)
@given(TITLES, PROMPTS, st.sampled_from([1, 2, 5, 256]))
def test_every_title_gets_its_probability(model, titles, prompts, piece):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exhaustive, "_PIECE_NODES", piece)
        patched.setattr(exhaustive, "_BATCH_NODES", 4 * piece)  # four users at a time
        search = search_of(model, titles)
        scores = search.score(prompts)
    places = search.trie.follow(titles, end=END)
    column = {int(leaf): number for number, leaf in enumerate(search.trie.leaves)}
    assert scores.shape == (len(prompts), len({tuple(title) for title in titles}))
    for prompt, row in zip(prompts[:3], scores, strict=False):
        ours = [float(row[column[int(place)]]) for place in places]
        assert ours == pytest.approx([brute_force(model, prompt, t) for t in titles], abs=CLOSE)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_best_titles_come_first(model, penalty):
    titles = [[1, 2], [1, 2, 3], [4], [], [5, 6, 7, 8]]
    reports: list[tuple[int, int | None]] = []
    search = search_of(model, titles, returned=3, penalty=penalty)
    found = search.search(
        [[1, 2], [3]], progress=lambda done, total, note="": reports.append((done, total))
    )
    assert reports == [(2, 2)]
    for prompt, best in zip([[1, 2], [3]], found, strict=True):
        scored = {tuple(t): brute_force(model, prompt, t) / (len(t) + 1) ** penalty for t in titles}
        wanted = sorted(scored, key=lambda title: -scored[title])[:3]
        assert [h.tokens for h in best] == wanted
        assert [h.score for h in best] == pytest.approx([scored[t] for t in wanted], abs=CLOSE)


def test_a_trie_of_every_text_sums_to_one(model):
    """All texts of at most two tokens; whatever else can be written is longer."""
    whole = [
        [],
        *([a] for a in range(1, 12)),
        *([a, b] for a in range(1, 12) for b in range(1, 12)),
    ]
    scores = search_of(model, whole).score([[3, 4, 5]])[0]
    longer = 1 - float(scores.exp().sum())
    with torch.inference_mode():
        chances = model(torch.tensor([[3, 4, 5, a, b] for a in range(1, 12) for b in range(1, 12)]))
    going_on = chances.logits.softmax(-1)
    first = going_on[0, 2, 1:]
    second = going_on[:, 3, 1:].view(11, 11, 11)[:, 0]
    ends = going_on[:, 4, END].view(11, 11)
    assert longer == pytest.approx(float((first[:, None] * second * (1 - ends)).sum()), abs=1e-5)


@pytest.fixture(scope="module")
def generator(language, catalogue) -> TransformersGenerator:
    return TransformersGenerator(language, Decoding(mode="exact", beams=4), catalogue)


def test_enough_beams_find_what_exact_scoring_finds(generator, language, catalogue, dataset):
    prompts = generator.prompt_builder().build_all(dataset.examples("test", limit=4), catalogue)
    beams = TransformersGenerator(language, Decoding(beams=60, returned=4), catalogue)
    for exact, searched in zip(generator.generate(prompts), beams.generate(prompts), strict=True):
        assert [q.text for q in exact.queries] == [q.text for q in searched.queries]
        chances = [q.logprob for q in searched.queries]
        assert [q.logprob for q in exact.queries] == pytest.approx(chances, abs=CLOSE)


def test_scores_stand_in_the_catalogues_order(generator, catalogue, dataset):
    prompts = generator.prompt_builder().build_all(dataset.examples("test", limit=2), catalogue)
    scores = generator.title_scores(prompts)
    assert scores.shape == (2, len(catalogue.titles))
    for said, row in zip(generator.generate(prompts), scores, strict=True):
        best = said.queries[0]
        assert catalogue.titles[int(row.argmax())] == best.text
        assert float(row.max()) == pytest.approx(best.logprob, abs=CLOSE)


def test_only_exact_decoding_scores_titles(language, catalogue):
    searching = TransformersGenerator(language, Decoding(beams=2), catalogue)
    with pytest.raises(ConfigError, match='decoding mode "exact"'):
        searching.title_scores([])
