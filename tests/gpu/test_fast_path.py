"""The fast path against PyTorch and against tree attention with transformers, on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gloss.decoding.batches import BatchedSearch
from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings
from gloss.decoding.choose_search import choose_search
from gloss.decoding.lineage import descendant_bits
from gloss.decoding.search import SearchResults
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SLOTS, BEAMS, HEADS, KEY_HEADS, HEAD, CAPACITY = 3, 5, 4, 2, 16, 256
END, VOCABULARY = 2, 600


@pytest.fixture(autouse=True)
def _seeded_on_the_device() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.device("cuda"):
        yield


def _cache() -> tuple[torch.Tensor, torch.Tensor]:
    shape = (SLOTS, KEY_HEADS, CAPACITY, HEAD)
    return torch.randn(shape), torch.randn(shape)


def _attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.softmax(keys @ query * HEAD**-0.5, 0) @ values


def test_norm_adds_the_update_and_scales() -> None:
    from gloss.decoding.cuda.pointwise import add_norm

    hidden, update, weight = torch.randn(5, 48), torch.randn(5, 48), torch.randn(48)
    total = hidden + update
    expected = weight * total * torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(add_norm(hidden, update, weight, 1e-5), expected)
    torch.testing.assert_close(hidden, total)


def test_a_beam_attends_to_its_prompt_and_its_ancestors_only() -> None:
    from gloss.decoding.cuda.attention import tree_attention

    keys, values = _cache()
    queries = torch.randn(SLOTS, BEAMS, HEADS, HEAD)
    lengths, steps = torch.tensor([70, 3, 64]), torch.tensor([3, 14, 1])
    ancestors = torch.randint(0, BEAMS, (SLOTS, BEAMS, 20))
    bits = descendant_bits(ancestors)
    output = tree_attention(queries, keys, values, lengths, steps, bits)
    for slot in range(SLOTS):
        length = int(lengths[slot])
        for own in range(BEAMS):
            runs = range(int(steps[slot]))
            lineage = [length + run * BEAMS + int(ancestors[slot, own, run]) for run in runs]
            entries = [*range(length), *lineage]
            for head in range(HEADS):
                group = head * KEY_HEADS // HEADS
                expected = _attention(
                    queries[slot, own, head],
                    keys[slot, group][entries],
                    values[slot, group][entries],
                )
                torch.testing.assert_close(output[slot, own, head], expected, atol=1e-5, rtol=1e-4)


def test_packed_prompts_attend_to_themselves_and_the_prefix() -> None:
    from gloss.decoding.cuda.attention import prompt_attention
    from gloss.decoding.cuda.llama import prompt_blocks

    keys, values = _cache()
    lengths, slots, prefix = [70, 5, 130], [2, 0, 1], 9
    queries = torch.randn(sum(lengths), HEADS, HEAD)
    blocks = torch.from_numpy(prompt_blocks(slots, np.array(lengths), prefix)).cuda()
    output = prompt_attention(queries, keys, values, blocks)
    row = 0
    for slot, length in zip(slots, lengths, strict=True):
        for index in range(length):
            for head in range(HEADS):
                group, end = head * KEY_HEADS // HEADS, prefix + index + 1
                expected = _attention(
                    queries[row, head], keys[slot, group, :end], values[slot, group, :end]
                )
                torch.testing.assert_close(output[row, head], expected, atol=1e-5, rtol=1e-4)
            row += 1


@pytest.mark.parametrize("count", [0, 1, 7])
def test_largest_of_rows_are_those_of_topk(count: int) -> None:
    from gloss.decoding.cuda.topk import row_topk

    logits = torch.randn(6, 9001)
    log_sums, best, columns = row_topk(logits, count)
    torch.testing.assert_close(log_sums, logits.logsumexp(1))
    torch.testing.assert_close(best, logits.topk(count).values)
    torch.testing.assert_close(columns, logits.topk(count).indices)


def test_largest_inside_the_trie_are_those_of_its_edges() -> None:
    from gloss.decoding.cuda.topk import trie_topk

    trie = _trie()
    nodes = torch.tensor([0, 1, 5, trie.dead, 20, 3])
    logits = torch.randn(6, VOCABULARY)
    best, edges = trie_topk(logits, nodes, trie, 8)
    for row, node in enumerate(nodes.tolist()):
        run = range(int(trie.starts[node]), int(trie.starts[node + 1]))
        expected = sorted((-float(logits[row, trie.tokens[edge]]), edge) for edge in run)[:8]
        follow = best[row] > -torch.inf
        assert edges[row][follow].tolist() == [edge for _, edge in expected]
        assert edges[row].max() < len(trie.tokens)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("slots", [1, 7, 64])
def test_slots_find_what_tree_attention_finds(penalty: float, inside: bool, slots: int) -> None:
    from gloss.decoding.cuda.search import CudaSearch

    model, prompts = _model(), _prompts(60)
    trie = _trie() if inside else None
    settings = BeamSettings(5, 4, 12, penalty, END)
    search = CudaSearch(model, settings, trie)
    search.most_slots = slots
    _assert_same(search.search(prompts), beam_search(model, prompts, settings, trie=trie))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_fewer_titles_than_beams_come_to_an_end(penalty: float) -> None:
    """Beams without a title never count as finished: the last step ends the search, not a score."""
    from gloss.decoding.cuda.search import CudaSearch

    model, prompts = _model(), _prompts(20)
    trie = _trie_of([[3, 4], [5]])
    settings = BeamSettings(7, 7, 12, penalty, END)
    results = CudaSearch(model, settings, trie).search(prompts)
    _assert_same(results, beam_search(model, prompts, settings, trie=trie))
    assert all({h.tokens for h in hypotheses} == {(3, 4), (5,)} for hypotheses in results)


def test_as_many_beams_as_a_word_has_bits_are_told_apart() -> None:
    from gloss.decoding.cuda.search import CudaSearch

    model, prompts = _model(), _prompts(6)
    settings = BeamSettings(64, 8, 8, 0.0, END)
    results = CudaSearch(model, settings, None).search(prompts)
    _assert_same(results, beam_search(model, prompts, settings))


def test_more_beams_are_refused_here_and_searched_in_batches() -> None:
    from gloss.decoding.cuda.search import CudaSearch

    model, settings = _model(), BeamSettings(65, 5, 4, 0.0, END)
    with pytest.raises(ConfigError, match="takes 64 beams at most, not 65"):
        CudaSearch(model, settings, None)
    with pytest.warns(RuntimeWarning, match="65 beams are more than its 64"):
        search = choose_search(model, settings, None, entries=None)
    assert isinstance(search, BatchedSearch)
    prompts = _prompts(4)
    _assert_same(search.search(prompts), beam_search(model, prompts, settings))


def test_running_out_of_memory_halves_the_slots_and_goes_on() -> None:
    from gloss.decoding.cuda.search import CudaSearch

    model, prompts = _model(), _prompts(20)
    search = CudaSearch(model, BeamSettings(5, 5, 12, 0.0, END), None)
    expected = search.search(prompts)
    # A budget of the process's own: this many slots do not fit under it, half of them do.
    slot_bytes = search.model.entry_bytes() * (128 + 12 * 5)
    search.most_slots = 4096
    search._release()
    share = (torch.cuda.memory_reserved() + slot_bytes * 3072) / torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        _assert_same(search.search(prompts), expected)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert search.most_slots < 4096


def test_another_architecture_is_searched_in_batches_and_a_warning_says_why() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2, n_positions=128)
    model = GPT2LMHeadModel(config).eval().cuda()
    settings = BeamSettings(3, 3, 5, 0.0, END)
    with pytest.warns(RuntimeWarning, match="slower path: its type is 'gpt2'"):
        search = choose_search(model, settings, None, entries=10_000)
    assert len(search.search(_prompts(4))) == 4


def _model() -> Any:
    torch.backends.cuda.matmul.allow_tf32 = False
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=END,
    )
    model = LlamaForCausalLM(config).eval().cuda()
    with torch.no_grad():
        model.lm_head.weight.mul_(8)  # as peaked as a trained model
    return model


def _prompts(count: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    shared = rng.integers(3, VOCABULARY, 20).tolist()
    return [
        [*shared, *rng.integers(3, VOCABULARY, rng.integers(1, 60)).tolist()] for _ in range(count)
    ]


def _trie() -> TitleTrie:
    rng = np.random.default_rng(1)
    return _trie_of([rng.integers(3, 60, rng.integers(1, 6)).tolist() for _ in range(300)])


def _trie_of(titles: list[list[int]]) -> TitleTrie:
    with torch.device("cpu"):
        return TitleTrie.build(titles, end=END, vocabulary=VOCABULARY).to("cuda")


def _assert_same(results: SearchResults, expected: SearchResults) -> None:
    for ours, theirs in zip(results, expected, strict=True):
        assert [beam.tokens for beam in ours] == [beam.tokens for beam in theirs]
        assert [b.score for b in ours] == pytest.approx([b.score for b in theirs], abs=1e-4)
