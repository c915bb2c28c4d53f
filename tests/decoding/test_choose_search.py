"""Which search a model gets, and the general one's answer to running out of memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from gloss.decoding.batches import BatchedSearch
from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings
from gloss.decoding.choose_search import choose_search
from gloss.decoding.cpu.search import CpuSearch
from gloss.decoding.support import unsupported_because
from gloss.errors import GlossError

VOCABULARY = 300
SETTINGS = BeamSettings(3, 3, 5, 0.0, end=-1)


def llama(**changes: Any) -> LlamaForCausalLM:
    shape = {"hidden_size": 32, "num_attention_heads": 2, "max_position_embeddings": 64} | changes
    config = LlamaConfig(vocab_size=VOCABULARY, intermediate_size=48, num_hidden_layers=1, **shape)
    torch.manual_seed(1)
    return LlamaForCausalLM(config).eval()


def test_a_llama_on_a_cpu_takes_the_fast_path():
    assert isinstance(choose_search(llama(), SETTINGS, None, entries=None), CpuSearch)


def test_another_architecture_is_searched_in_batches_and_a_warning_says_why():
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    model = GPT2LMHeadModel(config).eval()
    with pytest.warns(RuntimeWarning, match="slower path: its type is 'gpt2'"):
        search = choose_search(model, SETTINGS, None, entries=None)
    prompts = [[1], [2, 3]]
    assert search.search(prompts) == beam_search(model, prompts, SETTINGS)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (llama(attention_bias=True), "its projections have biases"),
        (llama(hidden_act="gelu"), "its activation is not SiLU"),
        (llama().to(torch.bfloat16), "its numbers are bfloat16, not float32"),
        (llama(), None),
    ],
)
def test_what_a_cpu_cannot_run_is_named(model, reason):
    assert unsupported_because(model, SETTINGS) == reason


def on_cuda(config: LlamaConfig) -> Any:
    """What the choice asks of a model on a CUDA device, without the device."""
    return SimpleNamespace(config=config, device=torch.device("cuda"), dtype=torch.bfloat16)


@pytest.mark.parametrize(("beams", "reason"), [(64, None), (65, "65 beams are more than its 64")])
def test_more_beams_than_a_word_has_bits_are_too_many_for_the_kernel(beams, reason):
    settings = BeamSettings(beams, beams, 5, 0.0, end=-1)
    assert unsupported_because(on_cuda(llama().config), settings) == reason


def test_a_head_width_that_triton_has_no_block_for_is_named():
    model = on_cuda(llama(hidden_size=40).config)
    assert unsupported_because(model, SETTINGS) == "its heads are 20 wide"


def test_running_out_of_memory_halves_the_budget_of_batches_and_goes_on():
    """The double of a device refuses more than two users at once."""
    model, chosen = llama(), BeamSettings(2, 2, 4, 0.0, end=-1)
    prompts = [[n, n + 1, n + 2] for n in range(12)]
    wanted = beam_search(model, prompts, chosen)
    search = BatchedSearch(model, chosen, None, entries=8 * (3 + 4 * 2))

    def refuse(_model: Any, _inputs: Any, named: Any) -> None:
        if len(named["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    for ours, theirs in zip(search.search(prompts), wanted, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
    assert search.entries == 2 * (3 + 4 * 2)


def test_memory_that_does_not_hold_a_batch_of_one_is_an_error():
    model = llama()
    search = BatchedSearch(model, SETTINGS, None, entries=100)

    def refuse(_model: Any, _inputs: Any, _named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    with pytest.raises(GlossError, match="memory does not hold a single user"):
        search.search([[1, 2, 3]] * 4)
