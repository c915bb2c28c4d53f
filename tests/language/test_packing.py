from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, LlamaConfig, MistralConfig, Qwen2Config

from gloss.language.bases import Base
from gloss.language.examples import EncodedExample
from gloss.language.lora.adapters import add_adapter, load_base
from gloss.language.packed_attention import set_packed_attention, supports_packed_attention
from gloss.language.packing import NO_LOSS, PackedCollator, PaddedCollator

TOLERANCE = 1e-5
LENGTHS = ((7, 3), (41, 9), (2, 1), (23, 22), (60, 12))


def examples(lengths=LENGTHS, vocabulary=300) -> list[EncodedExample]:
    rng = np.random.default_rng(0)
    return [EncodedExample(rng.integers(0, vocabulary, n).astype(np.int32), a) for n, a in lengths]


@pytest.fixture(scope="module", params=["packed", "sdpa", "eager"])
def attention(request) -> str:
    """Ours, which is told where examples begin, and two that find it out from the positions."""
    return request.param


def model_with(base, lora, attention: str):
    model = load_base(base, device="cpu")
    if attention == "packed":
        set_packed_attention(model)
    else:
        model.set_attn_implementation(attention)
    model.config.use_cache = False
    adapted = add_adapter(model, lora, Base(base, "tiny"), seed=0)
    with torch.no_grad():  # an adapter that does something
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    return adapted


def loss_and_gradients(model, batch) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    count = (batch["shift_labels"] != NO_LOSS).sum()
    loss = model(**batch, num_items_in_batch=count).loss
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.requires_grad]


@pytest.mark.parametrize("loss_on", ["all", "completion"])
def test_packed_and_padded_give_the_same_loss_and_gradients(base, lora, attention, loss_on):
    rows = examples()
    padded = loss_and_gradients(model_with(base, lora, "sdpa"), PaddedCollator(0, loss_on)(rows))
    packed = loss_and_gradients(
        model_with(base, lora, attention), PackedCollator(loss_on, attention == "packed")(rows)
    )
    assert packed[0] == pytest.approx(padded[0], abs=TOLERANCE)
    assert len(packed[1]) == 2 * 7 * 2  # two layers, seven targets, two matrices each
    for ours, theirs in zip(packed[1], padded[1], strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def test_neighbours_in_a_pack_do_not_influence_each_other(base, lora, attention):
    """Whatever their order, every example has the logits that it has alone."""
    model, rows = model_with(base, lora, attention), examples()
    collate = PackedCollator("all", attention == "packed")

    def logits(order) -> dict[int, torch.Tensor]:
        batch = collate([rows[place] for place in order])
        with torch.no_grad():
            found = model(**batch).logits[0]
        parts = found.split([len(rows[place].tokens) - 1 for place in order])
        return dict(zip(order, parts, strict=True))

    alone = {place: logits((place,))[place] for place in range(len(rows))}
    for order in itertools.islice(itertools.permutations(range(len(rows))), 0, 120, 17):
        for place, found in logits(order).items():
            torch.testing.assert_close(found, alone[place], rtol=0, atol=TOLERANCE)


def test_labels_of_models_that_shift_them_themselves_give_the_same_loss(base, lora):
    model, rows = model_with(base, lora, "sdpa"), examples()
    for loss_on in ("all", "completion"):
        count = (PaddedCollator(0, loss_on)(rows)["labels"] != NO_LOSS).sum()
        ours = model(**PaddedCollator(0, loss_on)(rows), num_items_in_batch=count).loss
        theirs = model(
            **PaddedCollator(0, loss_on, shifted=False)(rows), num_items_in_batch=count
        ).loss
        assert float(ours.detach()) == float(theirs.detach())


lengths = st.tuples(st.integers(2, 30), st.integers(1, 30)).map(
    lambda n: (n[0], min(n[0] - 1, n[1]))
)


@given(st.lists(lengths, min_size=1, max_size=6), st.sampled_from(["all", "completion"]))
def test_both_ask_for_the_same_tokens(each, loss_on):
    rows = examples(each)
    packed, padded = PackedCollator(loss_on, True)(rows), PaddedCollator(0, loss_on)(rows)
    asked = padded["labels"][padded["labels"] != NO_LOSS]
    assert packed["labels"][0].tolist() == asked.tolist()
    wanted = sum(n - 1 if loss_on == "all" else a for n, a in each)
    assert len(asked) == wanted == len(packed["logits_to_keep"])
    text = np.concatenate([row.tokens for row in rows])
    assert packed["input_ids"][0].tolist() == text.tolist()
    assert packed["cu_seq_lens_q"].diff().tolist() == [n for n, _ in each]
    followed = text[packed["logits_to_keep"].numpy() + 1]
    assert packed["labels"][0].tolist() == followed.tolist()


@pytest.mark.parametrize(
    ("config", "supported"),
    [
        (LlamaConfig(), True),
        (MistralConfig(sliding_window=None), True),
        (MistralConfig(sliding_window=4096), False),
        (Qwen2Config(), True),
        (Qwen2Config(use_sliding_window=True), False),
        (SimpleNamespace(get_text_config=lambda: SimpleNamespace(model_type="gemma3")), False),
    ],
)
def test_our_attention_is_for_plain_causal_attention_alone(config, supported):
    assert bool(supports_packed_attention(config)) == supported


def test_the_tests_model_has_grouped_heads(base):
    config = AutoConfig.from_pretrained(base)
    assert config.num_key_value_heads < config.num_attention_heads
