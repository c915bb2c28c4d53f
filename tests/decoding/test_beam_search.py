from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError

CLOSE = 1e-4
"""How far scores in fp32 may lie apart that different batches compute."""


def untrained(vocabulary: int, **changes) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        initializer_range=0.4,  # far from uniform, so that ties are rare
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        **changes,
    )
    torch.manual_seed(1)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return untrained(12)


@pytest.fixture(scope="session")
def prompts(language, dataset, catalogue) -> list[list[int]]:
    """Every beginning of the histories of many users, as the trained model reads them."""
    histories = [history.items for history in dataset.histories()]
    texts = [
        language.template.render([catalogue.title(item) for item in items[:length]])
        for items in histories
        for length in range(len(items))
    ]
    random.Random(0).shuffle(texts)
    return language.tokenizer(texts)["input_ids"]


def search(
    model, prompts, *, trie=None, end=0, beams=5, returned=None, most=16, penalty=0.0
) -> list[tuple[Hypothesis, ...]]:
    chosen = BeamSettings(beams, returned or beams, most, penalty, end)
    return beam_search(model, prompts, chosen, trie=trie)


def generate(
    model, prompts, *, end: int, beams: int, returned: int, most: int, penalty: float
) -> list[tuple[Hypothesis, ...]]:
    """The same by transformers, in batches of similar length."""
    found: list[tuple[Hypothesis, ...]] = [()] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for first in range(0, len(order), 128):
        rows = order[first : first + 128]
        longest = max(len(prompts[row]) for row in rows)
        padded = [[end] * (longest - len(prompts[row])) + prompts[row] for row in rows]
        seen = [[0] * (longest - len(prompts[row])) + [1] * len(prompts[row]) for row in rows]
        out = model.generate(
            input_ids=torch.tensor(padded),
            attention_mask=torch.tensor(seen),
            num_beams=beams,
            num_return_sequences=returned,
            max_new_tokens=most,
            length_penalty=penalty,
            early_stopping=False,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
        )
        written = [_until(end, row) for row in out.sequences[:, longest:].tolist()]
        scored = [*map(Hypothesis, written, out.sequences_scores.tolist())]
        for place, row in enumerate(rows):
            found[row] = tuple(scored[place * returned : (place + 1) * returned])
    return found


def _until(end: int, tokens: list[int]) -> tuple[int, ...]:
    return tuple(tokens[: tokens.index(end)] if end in tokens else tokens)


def assert_same(
    ours: Sequence[tuple[Hypothesis, ...]], theirs: Sequence[tuple[Hypothesis, ...]]
) -> int:
    """Scores are the same, and so are tokens but where scores tie; how many users have ties."""
    ties = 0
    for found, wanted in zip(ours, theirs, strict=True):
        assert [h.score for h in found] == pytest.approx([h.score for h in wanted], abs=CLOSE)
        for mine, other in zip(found, wanted, strict=True):
            if mine.tokens != other.tokens:
                near = [h for h in wanted if h is not other and abs(h.score - mine.score) < CLOSE]
                last = other is wanted[-1]  # what it ties with may not have been returned
                assert near or last, (mine, wanted)
        ties += [h.tokens for h in found] != [h.tokens for h in wanted]
    return ties


@pytest.mark.parametrize(
    ("beams", "returned", "penalty", "most", "users"),
    [
        (5, 5, 1.0, 16, 1000),
        (5, 3, 0.0, 16, 500),
        (8, 2, 2.0, 16, 300),
        (5, 5, 1.0, 9, 500),
        (3, 3, -0.8, 9, 300),
        (2, 1, 0.4, 8, 300),
    ],
)
def test_free_search_is_that_of_transformers(
    language, prompts, beams, returned, penalty, most, users
):
    end = language.tokenizer.eos_token_id
    wanted = {"end": end, "beams": beams, "returned": returned, "most": most, "penalty": penalty}
    theirs = generate(language.model, prompts[:users], **wanted)
    ours: list[tuple[Hypothesis, ...]] = []
    for first in range(0, users, 100):
        part = prompts[first : min(users, first + 100)]
        ours += search(language.model, part, **wanted)
    assert len(ours) == users
    assert assert_same(ours, theirs) <= users // 100
    ended = [len(h.tokens) < most for found in ours for h in found]
    assert any(ended)
    assert most == 16 or not all(ended)  # some titles are cut off


def test_one_beam_takes_the_likeliest_token_each_time(language, prompts):
    end = language.tokenizer.eos_token_id
    for prompt in prompts[:20]:
        (((tokens, _),),) = [
            [(h.tokens, h.score) for h in found]
            for found in search(language.model, [prompt], end=end, beams=1, most=10)
        ]
        read = list(prompt)
        for token in (*tokens, end)[:10]:
            with torch.inference_mode():
                assert int(language.model(torch.tensor([read])).logits[0, -1].argmax()) == token
            read.append(token)


def brute_force(model, prompt: list[int], titles: Sequence[Sequence[int]], *, penalty: float = 0.0):
    """Every distinct title with its score, best first."""
    scored = []
    for title in dict.fromkeys(map(tuple, titles)):
        read = torch.tensor([[*prompt, *title, 0]])
        with torch.inference_mode():
            chances = model(read[:, :-1]).logits[0].log_softmax(-1)
        steps = len(title) + 1
        chance = chances[-steps:].gather(1, read[0, -steps:, None]).sum()
        scored.append(Hypothesis(title, float(chance) / steps**penalty))
    return tuple(sorted(scored, key=lambda h: -h.score))


TITLES = st.lists(st.lists(st.integers(1, 11), min_size=1, max_size=6), min_size=1, max_size=10)
PROMPTS = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=9), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(TITLES, PROMPTS, st.integers(0, 3), st.sampled_from([0.0, 1.0, -0.5]))
def test_inside_the_catalogue_every_title_gets_its_probability(
    model, titles, prompts, spare, penalty
):
    trie = TitleTrie.build(titles, end=0, vocabulary=12)
    beams = len(set(map(tuple, titles))) + spare
    ours = search(model, prompts, trie=trie, beams=beams, penalty=penalty)
    theirs = [brute_force(model, prompt, titles, penalty=penalty) for prompt in prompts]
    assert_same(ours, theirs)
    for found, wanted in zip(ours, theirs, strict=True):
        assert {h.tokens for h in found} == {h.tokens for h in wanted}


@settings(max_examples=40, deadline=None)
@given(TITLES, PROMPTS, st.integers(1, 4))
def test_with_few_beams_no_title_is_invented_and_none_comes_twice(model, titles, prompts, beams):
    trie = TitleTrie.build(titles, end=0, vocabulary=12)
    for prompt, found in zip(prompts, search(model, prompts, trie=trie, beams=beams), strict=True):
        scores = {h.tokens: h.score for h in brute_force(model, prompt, titles)}
        assert found
        assert len({h.tokens for h in found}) == len(found) <= beams
        for hypothesis in found:
            assert hypothesis.score == pytest.approx(scores[hypothesis.tokens], abs=CLOSE)


def test_a_title_that_begins_another_is_a_title_of_its_own(model):
    titles = [[1, 2], [1, 2, 3], [1]]
    trie = TitleTrie.build(titles, end=0, vocabulary=12)
    (found,) = search(model, [[5, 6]], trie=trie, beams=3)
    assert_same([found], [brute_force(model, [5, 6], titles)])


def test_fewer_titles_than_beams_are_fewer_hypotheses(model):
    trie = TitleTrie.build([[1, 2], [3]], end=0, vocabulary=12)
    (found,) = search(model, [[5]], trie=trie, beams=7)
    assert {h.tokens for h in found} == {(1, 2), (3,)}


def test_fewer_returned_are_the_best_of_those_searched(model):
    trie = TitleTrie.build([[1, 2], [3], [4, 4]], end=0, vocabulary=12)
    (every,) = search(model, [[5]], trie=trie, beams=3)
    (best,) = search(model, [[5]], trie=trie, beams=3, returned=1)
    assert best == every[:1]


@pytest.mark.parametrize("mode", ["free", "catalogue"])
def test_users_do_not_change_each_other(language, prompts, catalogue, mode):
    """Users end at different steps; those that are done leave the batch as it goes on."""
    end = language.tokenizer.eos_token_id
    trie = None
    if mode == "catalogue":
        titles = language.tokenizer(list(catalogue.titles))["input_ids"]
        trie = TitleTrie.build(titles, end=end, vocabulary=language.model.config.vocab_size)
    few = prompts[:40]
    together = search(language.model, few, trie=trie, end=end, beams=4, most=30)
    alone = [search(language.model, [p], trie=trie, end=end, beams=4, most=30)[0] for p in few]
    backwards = search(language.model, few[::-1], trie=trie, end=end, beams=4, most=30)[::-1]
    assert len({max(len(h.tokens) for h in found) for found in alone}) > 3
    assert assert_same(together, alone) <= 1
    assert assert_same(together, backwards) <= 1


def test_users_that_are_done_leave_the_batch(language, prompts):
    sizes = []
    hook = language.model.register_forward_pre_hook(
        lambda _module, _arguments, named: sizes.append(len(named["input_ids"])), with_kwargs=True
    )
    end = language.tokenizer.eos_token_id
    search(language.model, prompts[:40], end=end, beams=2, most=60)
    hook.remove()
    assert sizes[0] == 40
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= 20


def test_more_beams_than_tokens_are_no_trouble(model):
    (found,) = search(model, [[5, 6]], beams=30, most=3)
    assert len({h.tokens for h in found}) == len(found) == 30


def test_the_end_alone_is_an_empty_title(model):
    trie = TitleTrie.build([[]], end=0, vocabulary=12)
    ((only,),) = search(model, [[5]], trie=trie, beams=2)
    assert only.tokens == ()


@pytest.mark.parametrize("returned", [0, 6])
def test_what_was_not_searched_cannot_be_returned(returned):
    with pytest.raises(ConfigError, match=rf"must be 1 to 5 \(beams\), not {returned}"):
        BeamSettings(5, returned, 10, 0.0, 0)


def test_a_model_with_a_narrow_window_is_refused():
    config = MistralConfig(
        vocab_size=12,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=8,
    )
    model = MistralForCausalLM(config).eval()
    with pytest.raises(ConfigError, match="looks back 8 tokens only, the context holds 9"):
        search(model, [[1, 2, 3]], beams=2, most=6)
    assert search(model, [[1, 2, 3]], beams=2, most=5)


def test_attention_that_adds_its_mask_gives_the_same():
    """Models without fused attention add the mask to the scores instead of choosing by it."""
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]
    fused = search(untrained(12, attn_implementation="sdpa"), prompts, most=6)
    assert_same(search(untrained(12, attn_implementation="eager"), prompts, most=6), fused)


def test_the_model_is_left_as_it_was(language, prompts):
    before = {name: value.clone() for name, value in language.model.state_dict().items()}
    search(language.model, prompts[:3], end=language.tokenizer.eos_token_id)
    after = language.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
