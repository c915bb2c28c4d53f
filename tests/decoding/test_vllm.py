"""vLLM beside our own search, the same weights in fp32; needs the extra "vllm"."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

pytest.importorskip("vllm", reason='needs the extra "vllm", in an environment of its own')

from gloss.config import Decoding, Loading
from gloss.decoding.open import open_generator
from gloss.errors import ConfigError
from gloss.prompts import PAPER_TEMPLATE, PromptBuilder
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.generators import GeneratorContract
from gloss.testing.tiny_model import write_tiny_llama

pytestmark = pytest.mark.filterwarnings("ignore")  # vLLM's own

HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}
"""Heads of 32, the narrowest that vLLM has attention for on a CPU."""
ROUNDING = 1e-4
BEAMS = 5
VLLM = Loading(engine="vllm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    return write_tiny_llama(tmp_path_factory.mktemp("tiny"), TITLES, **HEADS)


def settings(mode: str) -> Decoding:
    return Decoding(mode=mode, beams=BEAMS, max_new_tokens=8)


@pytest.fixture(scope="module", params=["catalogue", "free"])
def opened(request, folder):
    return open_generator(folder, settings(request.param), catalogue_of(TITLES), loading=VLLM)


def prompts_of(count: int) -> list:
    builder = PromptBuilder(PAPER_TEMPLATE, count_tokens=len, max_tokens=10**6)
    return [builder.build(f"u{n}", (), TITLES[n : n + 1 + n % 3]) for n in range(count)]


class TestVllm(GeneratorContract):
    @pytest.fixture
    def generator(self, opened):
        return opened

    @pytest.fixture
    def prompts(self):
        return prompts_of(4)


def assert_same(one, other) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert [query.text for query in ours.queries] == [query.text for query in theirs.queries]
        scores = [query.logprob for query in theirs.queries]
        assert [query.logprob for query in ours.queries] == pytest.approx(scores, abs=ROUNDING)


def test_titles_and_scores_are_those_of_our_own_search(folder, opened):
    ours = open_generator(folder, opened.settings, catalogue_of(TITLES), device="cpu")
    prompts = prompts_of(6)
    assert_same(ours.generate(prompts), opened.generate(prompts))


def test_a_small_cache_takes_users_in_turn(opened):
    prompts = prompts_of(5)
    whole = opened.generate(prompts)
    entries, opened.search.entries = opened.search.entries, 1
    reports = []
    in_turn = opened.generate(prompts, progress=lambda done, total, note="": reports.append(done))
    opened.search.entries = entries
    assert reports == [1, 2, 3, 4, 5]
    assert_same(whole, in_turn)


def test_part_of_the_catalogue_is_all_that_is_written(folder, opened):
    part = catalogue_of(TITLES[:3])
    ours = open_generator(folder, opened.settings, catalogue_of(TITLES), device="cpu")
    prompts = prompts_of(3)
    assert_same(ours.within(part).generate(prompts), opened.within(part).generate(prompts))


def test_an_adapter_goes_beside_its_base(folder, tmp_path):
    adapter = write_adapter(tmp_path / "adapter", folder)
    options = {"catalogue": catalogue_of(TITLES)}
    decoding = settings("catalogue")
    prompts = prompts_of(3)
    ours = open_generator(
        adapter, decoding, **options, device="cpu", loading=Loading(base=folder)
    ).generate(prompts)
    plain = open_generator(folder, decoding, **options, device="cpu").generate(prompts)
    beside = Loading(base=folder, engine="vllm")
    theirs = open_generator(adapter, decoding, **options, loading=beside).generate(prompts)
    assert_same(ours, theirs)
    shift = plain[0].queries[0].logprob - ours[0].queries[0].logprob
    assert abs(shift) > 100 * ROUNDING  # the adapter counts


def write_adapter(folder: Path, base: Path) -> Path:
    """A LoRA adapter of rank 4 with random matrices, as PEFT writes it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    torch.manual_seed(1)
    for name, weights in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.2)
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("decoding", "loading", "message"),
    [
        (settings("exact"), VLLM, "--decoding exact"),
        (settings("free"), Loading(engine="vllm", quantization="nf4"), "4 bits"),
    ],
)
def test_what_vllm_cannot_do_is_refused_before_it_loads(folder, decoding, loading, message):
    with pytest.raises(ConfigError, match=message):
        open_generator(folder, decoding, catalogue_of(TITLES), loading=loading)
