"""Models that others have made: a result that fits, or one line that is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomConfig, GPT2Config, MambaConfig

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import Example
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.errors import InputError
from gloss.language.loading import context_of, load_language_model
from gloss.testing.tiny_model import write_tiny_llama

pytestmark = [
    pytest.mark.filterwarnings("ignore:decoding takes the slower path:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

CATALOGUE = Catalogue(
    Item(f"b{row}", title) for row, title in enumerate(["Red kite", "Blue kite", "Tin whistle"])
)
EXAMPLES = [Example("u", ("b0", "b1"), "b2")]


@pytest.fixture
def base(tmp_path) -> Path:
    return write_tiny_llama(tmp_path / "base", CATALOGUE.titles)


def other(base: Path, config: Any, folder: Path) -> Path:
    """A model of another kind with the tokenizer of the base."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def written(folder: Path, mode: str = "catalogue") -> set[str]:
    language = load_language_model(folder, device="cpu")
    generator = TransformersGenerator(language, Decoding(mode=mode, beams=3), CATALOGUE)
    prompts = generator.prompt_builder().build_all(EXAMPLES, CATALOGUE)
    (generation,) = generator.generate(prompts)
    return {query.text for query in generation.queries}


def size(base: Path) -> int:
    return len(AutoTokenizer.from_pretrained(base))


def test_a_model_that_names_no_limit_reads_what_its_tokenizer_names(base):
    language = load_language_model(base, device="cpu")
    assert context_of(language) == 512
    language.model.config = MambaConfig()  # has no such setting
    language.tokenizer.model_max_length = 77
    assert context_of(language) == 77
    language.tokenizer.model_max_length = 10**30
    assert context_of(language) == 1024


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(hidden_size=32, n_layer=1, n_head=2),
        MambaConfig(hidden_size=16, num_hidden_layers=1),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_without_positions_is_refused_in_one_line(base, tmp_path, config):
    config.vocab_size = size(base)
    folder = other(base, config, tmp_path / "other")
    with pytest.raises(InputError, match=f"of the type '{config.model_type}', which takes no pos"):
        load_language_model(folder, device="cpu")


def test_another_kind_of_model_writes_titles(base, tmp_path):
    config = GPT2Config(vocab_size=size(base), n_embd=32, n_layer=1, n_head=2, n_positions=300)
    folder = other(base, config, tmp_path / "gpt2")
    assert context_of(load_language_model(folder, device="cpu")) == 300
    assert written(folder) == set(CATALOGUE.titles)


def test_a_tokenizer_larger_than_the_embedding_is_refused(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    known = len(tokenizer)
    tokenizer.add_tokens(["<brand>", "<price>"])
    tokenizer.save_pretrained(base)
    message = f"tokenizer has {known + 2:,} tokens and its model embeddings of {known:,}"
    with pytest.raises(InputError, match=message):
        load_language_model(base, device="cpu")


def without_end(base: Path, *, also_in_model: bool) -> Path:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (file := base / name).is_file():
            settings = json.loads(file.read_bytes())
            file.write_text(json.dumps({k: v for k, v in settings.items() if "eos" not in k}))
    for name in ("config.json", "generation_config.json") if also_in_model else ():
        settings = json.loads((base / name).read_bytes())
        (base / name).write_text(json.dumps({**settings, "eos_token_id": None}))
    return base


def test_the_end_of_text_is_the_models_where_the_tokenizer_has_none(base):
    language = load_language_model(without_end(base, also_in_model=False), device="cpu")
    assert language.tokenizer.eos_token_id == 0
    assert written(base) == set(CATALOGUE.titles)


def test_without_any_end_of_text_it_is_said_what_to_set(base):
    with pytest.raises(InputError, match="set eos_token in its tokenizer_config"):
        load_language_model(without_end(base, also_in_model=True), device="cpu")


def adapted(base: Path, config: Any, folder: Path, *, added: int = 0) -> Path:
    peft = pytest.importorskip("peft", reason='needs the extra "lora"')
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if added:
        tokenizer.add_tokens([f"<extra {number}>" for number in range(added)])
        model.resize_token_embeddings(len(tokenizer))
        tokenizer.save_pretrained(folder)
    made = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if "lora_B" in name:
                weights.fill_(0.01)
    made.save_pretrained(folder, save_embedding_layers=bool(added))
    return folder


def test_an_adapter_with_added_tokens_is_merged_with_its_own_vocabulary(base, tmp_path):
    peft = pytest.importorskip("peft", reason='needs the extra "lora"')
    settings = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    folder = adapted(base, settings, tmp_path / "adapter", added=5)
    language = load_language_model(folder, device="cpu")
    assert language.model.get_input_embeddings().num_embeddings == size(base) + 5
    assert len(language.tokenizer) == size(base) + 5
    assert written(folder) == set(CATALOGUE.titles)


def test_an_adapter_of_virtual_tokens_is_named_as_what_it_is(base, tmp_path):
    peft = pytest.importorskip("peft", reason='needs the extra "lora"')
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    folder = adapted(base, settings, tmp_path / "adapter")
    with pytest.raises(InputError, match="of the kind PROMPT_TUNING, which works by virtual"):
        load_language_model(folder, device="cpu")
