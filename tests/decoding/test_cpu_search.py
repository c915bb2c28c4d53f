"""The fast path on a CPU against PyTorch and against tree attention with transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from gloss.decoding.batches import BatchedSearch
from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings
from gloss.decoding.choose_search import choose_search
from gloss.decoding.cpu.products import product
from gloss.decoding.cpu.search import CpuSearch
from gloss.decoding.cpu.topk import row_topk, trie_topk
from gloss.decoding.search import Search, SearchResults
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import GlossError

CLOSE = 1e-4
"""How far scores in fp32 may lie apart that products of different sizes compute."""
VOCABULARY = 300


def untrained(**changes: Any) -> LlamaForCausalLM:
    """Two query heads a key head, its head not tied: nothing that must be special is."""
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32} | changes
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        intermediate_size=48,
        num_hidden_layers=2,
        max_position_embeddings=256,
        initializer_range=0.4,  # far from uniform, so that ties are rare
        tie_word_embeddings=False,
        **shape,
    )
    torch.manual_seed(1)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def grouped() -> LlamaForCausalLM:
    return untrained()


def assert_same(results: SearchResults, wanted: SearchResults) -> None:
    """The same scores; the same tokens but where scores tie."""
    for ours, theirs in zip(results, wanted, strict=True):
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=CLOSE)
        for mine, other in zip(ours, theirs, strict=True):
            if mine.tokens != other.tokens:
                near = [h for h in theirs if abs(h.score - mine.score) < CLOSE]
                assert len(near) > 1 or other is theirs[-1], (mine, theirs)


PROMPTS = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=30), min_size=1, max_size=9
)
TITLES = st.lists(st.lists(st.integers(1, 40), min_size=0, max_size=5), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None)
@given(PROMPTS, st.integers(1, 4), st.integers(1, 6), st.sampled_from([0.0, 1.0]), st.booleans())
def test_slots_find_what_tree_attention_finds(grouped, prompts, slots, beams, penalty, shared):
    if shared:  # long enough a beginning to be read once
        prompts = [[*range(20), *prompt] for prompt in prompts]
    chosen = BeamSettings(beams, beams, 6, penalty, end=7)
    search = CpuSearch(grouped, chosen, None, entries=10**6)
    search.most_slots = slots
    assert_same(search.search(prompts), beam_search(grouped, prompts, chosen))


@settings(max_examples=40, deadline=None)
@given(PROMPTS, TITLES, st.integers(1, 4), st.integers(1, 6))
def test_slots_find_what_tree_attention_finds_inside_the_catalogue(
    grouped, prompts, titles, slots, beams
):
    trie = TitleTrie.build(titles, end=0, vocabulary=VOCABULARY)
    chosen = BeamSettings(beams, beams, 6, 0.0, end=0)
    search = CpuSearch(grouped, chosen, trie, entries=10**6)
    search.most_slots = slots
    wanted = beam_search(grouped, prompts, chosen, trie=trie)
    assert_same(search.search(prompts), wanted)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_any_number_of_key_heads_is_served(heads):
    model = untrained(num_key_value_heads=heads)
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8], [9]]
    chosen = BeamSettings(3, 3, 5, 0.0, end=-1)
    found = choose_search(model, chosen, None, entries=None).search(prompts)
    assert_same(found, beam_search(model, prompts, chosen))


@pytest.mark.parametrize("budget", [1, 100, 300, 10**6])
def test_slots_keep_within_the_budget(grouped, budget, monkeypatch):
    made = []
    search = CpuSearch(grouped, BeamSettings(3, 3, 5, 0.0, end=-1), None, entries=budget)
    allocate = search.model.new_cache
    monkeypatch.setattr(
        search.model,
        "new_cache",
        lambda slots, capacity: made.append((slots, capacity)) or allocate(slots, capacity),
    )
    assert len(search.search([[1] * length for length in range(5, 15)])) == 10
    assert made == [(max(1, min(10, budget // (14 + 5 * 3))), 14 + 5 * 3)]


def test_progress_counts_who_is_done(grouped):
    reports: list[tuple[int, int | None]] = []
    search = CpuSearch(grouped, BeamSettings(2, 2, 5, 0.0, end=7), None, entries=10**6)
    search.most_slots = 3
    search.search(
        [[n] for n in range(10)],
        progress=lambda done, total, note="": reports.append((done, total)),
    )
    assert reports == sorted(set(reports))
    assert reports[-1] == (10, 10)


def test_running_out_of_memory_halves_the_slots_and_goes_on(grouped, monkeypatch):
    """The allocator of the double refuses more than two users at once."""
    chosen = BeamSettings(2, 2, 4, 0.0, end=-1)
    prompts = [[n, n + 1, n + 2] for n in range(12)]
    search = CpuSearch(grouped, chosen, None, entries=8 * (3 + 4 * 2))
    allocate = search.model.new_cache

    def new_cache(slots: int, capacity: int) -> Any:
        if slots > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")
        return allocate(slots, capacity)

    monkeypatch.setattr(search.model, "new_cache", new_cache)
    assert_same(search.search(prompts), beam_search(grouped, prompts, chosen))
    assert search.most_slots == 8 / 2 / 2


def test_memory_that_holds_nobody_is_an_error(grouped, monkeypatch):
    search = CpuSearch(grouped, BeamSettings(2, 2, 4, 0.0, end=-1), None, entries=100)

    def new_cache(slots: int, capacity: int) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")

    monkeypatch.setattr(search.model, "new_cache", new_cache)
    with pytest.raises(GlossError, match="memory does not hold a single user"):
        search.search([[1, 2, 3]] * 4)


def test_another_error_is_not_taken_for_memory(grouped, monkeypatch):
    search = CpuSearch(grouped, BeamSettings(2, 2, 4, 0.0, end=-1), None, entries=100)

    def new_cache(slots: int, capacity: int) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(search.model, "new_cache", new_cache)
    with pytest.raises(RuntimeError, match="something else"):
        search.search([[1, 2, 3]] * 4)


def test_no_prompts_find_nothing(grouped):
    search = choose_search(grouped, BeamSettings(3, 3, 5, 0.0, -1), None, entries=None)
    assert search.search([]) == []


def test_the_model_goes_on_working_and_can_be_saved(tmp_path):
    model, prompt = untrained(), torch.tensor([[1, 2, 3, 4]])
    before = model(prompt).logits
    choose_search(model, BeamSettings(3, 3, 5, 0.0, -1), None, entries=None)
    assert torch.equal(model(prompt).logits, before)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(LlamaForCausalLM.from_pretrained(tmp_path)(prompt).logits, before)


def test_fewer_titles_than_beams_come_to_an_end_with_any_length_penalty(grouped):
    """Beams without a title never count as finished: the last step ends the search, not a score."""
    trie = TitleTrie.build([[1, 2], [3]], end=0, vocabulary=VOCABULARY)
    chosen = BeamSettings(7, 7, 6, 1.0, end=0)
    ((*best,),) = CpuSearch(grouped, chosen, trie).search([[5, 6]])
    assert {hypothesis.tokens for hypothesis in best} == {(1, 2), (3,)}


@pytest.mark.parametrize("columns", [5, 64, 700, 1000])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_largest_of_rows_are_those_of_topk(columns, count):
    logits = torch.randn(6, columns)
    log_sums, best, chosen = row_topk(logits, count)
    torch.testing.assert_close(log_sums, logits.exp().sum(1).log())
    assert torch.equal(best, logits.topk(count).values)
    assert torch.equal(logits.gather(1, chosen), best)


def test_largest_inside_the_trie_are_those_of_its_edges():
    generator = torch.Generator().manual_seed(0)
    titles = torch.randint(1, 40, (200, 3), generator=generator).tolist()
    trie = TitleTrie.build(titles, end=0, vocabulary=VOCABULARY)
    nodes = torch.tensor([0, 1, 5, trie.dead, 20, 3])
    logits = torch.randn(6, VOCABULARY, generator=generator)
    best, edges = trie_topk(logits, nodes, trie, 8)
    for row, node in enumerate(nodes.tolist()):
        run = range(int(trie.starts[node]), int(trie.starts[node + 1]))
        wanted = sorted(run, key=lambda edge: -float(logits[row, trie.tokens[edge]]))[:8]
        real = best[row] > -torch.inf
        assert edges[row][real].tolist() == wanted


@pytest.mark.parametrize("silu", [False, True])
def test_a_packed_product_is_the_product(silu):
    rows, weight = torch.randn(7, 48), torch.randn(33, 48)
    wanted = rows @ weight.T
    if silu:
        wanted = wanted * torch.sigmoid(wanted)
    torch.testing.assert_close(product(weight, silu=silu)(rows), wanted)


@settings(max_examples=20, deadline=None)
@given(PROMPTS, TITLES, st.integers(1, 4), st.booleans())
def test_finished_beams_are_told_step_by_step_and_change_nothing(
    grouped, prompts, titles, slots, batched
):
    trie = TitleTrie.build(titles, end=0, vocabulary=VOCABULARY)
    chosen = BeamSettings(4, 3, 6, 0.0, end=0)
    if batched:
        search: Search = BatchedSearch(grouped, chosen, trie, entries=200)
    else:
        search = CpuSearch(grouped, chosen, trie, entries=10**6)
        search.most_slots = slots
    told: dict[int, list[tuple]] = {}
    found = search.search(
        prompts, on_finished=lambda user, now: told.setdefault(user, []).append(now)
    )
    assert_same(found, search.search(prompts))
    assert {user: of_user[-1] for user, of_user in told.items()} == dict(enumerate(found))
    for of_user in told.values():
        counts = [len(finished) for finished in of_user]
        assert counts == sorted(counts)


def test_a_short_title_is_told_before_a_long_one_is_written(grouped):
    trie = TitleTrie.build([[1], [2, 3, 4, 5, 6]], end=0, vocabulary=VOCABULARY)
    told = []
    search = CpuSearch(grouped, BeamSettings(2, 2, 6, 0.0, end=0), trie)
    search.search([[9, 8]], on_finished=lambda _user, now: told.append([h.tokens for h in now]))
    first = next(finished for finished in told if finished)
    assert (first, len(told[-1])) == ([(1,)], 2)
