from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from gloss.experiment.loading import load_experiment
from gloss.language.examples import EncodedExample, Examples
from gloss.language.lora.memory import batch_tokens, needs_checkpointing, plan_memory
from tiny_llama import TRAINING

GIB = 2**30
SMALL = {
    "vocab_size": 128256,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}
SHAPES = {
    "3.2-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
    },
    "3.2-3b": {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "head_dim": 128,
    },
}


@pytest.mark.parametrize(
    ("size", "parameters", "trainable"),
    [("3.2-1b", 1_235_814_400, 11_272_192), ("3.2-3b", 3_212_749_824, 24_313_856)],
)
def test_the_published_recipes_are_expected_to_fit_into_24_gb(
    pytestconfig, tmp_path, size, parameters, trainable
):
    LlamaConfig(**SMALL, **SHAPES[size]).save_pretrained(tmp_path)
    recipe = load_experiment(Path(pytestconfig.rootpath, f"configs/llama-{size}.yaml"))
    longest = EncodedExample(np.zeros(1024, np.int32), 25)
    planned = plan_memory(tmp_path, recipe.model, recipe.training, Examples((longest,) * 4, 0))
    assert planned["parameters"] == parameters
    assert planned["trainable parameters"] == trainable
    assert planned["about MiB on a GPU"] * 2**20 < 22 * GIB


def test_activations_are_computed_twice_only_where_memory_asks_for_it():
    config = LlamaConfig(**SMALL, **SHAPES["3.2-1b"])
    recipe = TRAINING.model_copy(update={"batch": 16, "gradient_checkpointing": "auto"})
    lengths = [280] * 1000
    assert needs_checkpointing(config, recipe, lengths, free=8 * GIB)
    assert not needs_checkpointing(config, recipe, lengths, free=130 * GIB)


@given(st.lists(st.integers(2, 1024), min_size=16, max_size=50))
def test_a_packed_batch_takes_no_more_than_a_padded_one(lengths):
    packed = batch_tokens(TRAINING, lengths)
    padded = batch_tokens(TRAINING.model_copy(update={"packing": False}), lengths)
    assert TRAINING.batch * sum(lengths) / len(lengths) <= packed + 1
    assert packed <= padded == TRAINING.batch * max(lengths)
