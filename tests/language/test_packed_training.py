from __future__ import annotations

import random
from dataclasses import asdict

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gloss.config import Training
from gloss.language.packing import Document, Pack
from gloss.language.scratch.packed_llama import PackedLlama, use_packed_attention
from gloss.language.scratch.packed_training import _packs, _rate_factor, train_on_packs
from gloss.training import loop
from gloss.training.loop import Position

SETTINGS = Training(
    epochs=3, batch_tokens=60, learning_rate=0.01, warmup_steps=3, dropout=0.2, attention_dropout=0
)


def small(seed: int = 0, *, attention_dropout: float = 0.1) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        attention_dropout=attention_dropout,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def documents(epoch: int) -> list[Document]:
    rng = np.random.default_rng(epoch)
    lengths = rng.integers(2, 14, 40)
    return [Document.of(rng.integers(1, 20, length).astype(np.int32)) for length in lengths]


class Interrupted(Exception):
    pass


def stopping_at(step: int):
    """Progress that ends the run in the middle of a step."""

    def progress(done: int, _total: int | None, note: str = "") -> None:
        if done == step:
            raise Interrupted

    return progress


def run(path, *, seed=7, settings=SETTINGS, model=None, **named):
    model = model or small()
    record = train_on_packs(model, documents, settings, seed=seed, pad=0, checkpoint=path, **named)
    return model, record


def same(one, other) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "checkpoint.pt", validate=validate)


def validate(model) -> float:
    return float(sum(p.detach().abs().sum() for p in model.parameters()))


def test_the_same_seed_gives_the_same_bits(tmp_path, uninterrupted):
    model, record = run(tmp_path / "checkpoint.pt", validate=validate)
    assert same(model, uninterrupted[0])
    assert record == uninterrupted[1]


def test_another_seed_gives_other_weights(tmp_path, uninterrupted):
    assert not same(run(tmp_path / "checkpoint.pt", seed=8)[0], uninterrupted[0])


@pytest.mark.parametrize("stops", [(1,), (5,), (2, 3, 11, 12, 17), (14, 15)])
def test_resumed_runs_end_with_the_same_bits(tmp_path, monkeypatch, uninterrupted, stops):
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "checkpoint.pt"
    for step in stops:
        torch.manual_seed(step)  # what was drawn before must not matter
        with pytest.raises(Interrupted):
            run(path, validate=validate, progress=stopping_at(step))
    model, record = run(path, validate=validate, model=small(seed=99))
    # The first stop comes before any checkpoint: only then do the model's own weights count.
    if stops == (1,):
        assert not same(model, uninterrupted[0])
        return
    assert same(model, uninterrupted[0])
    assert record == uninterrupted[1]


def test_a_resumed_run_reads_twice_as_an_undisturbed_one_does(tmp_path, monkeypatch):
    agreeing = SETTINGS.model_copy(update={"r_drop": 1.0})
    whole, record = run(tmp_path / "whole.pt", settings=agreeing)
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        run(path, settings=agreeing, progress=stopping_at(5))
    model, resumed = run(path, settings=agreeing, model=small(seed=99))
    assert same(model, whole)
    assert [row["loss"] for row in resumed.losses] == [row["loss"] for row in record.losses]
    assert not same(model, run(tmp_path / "plain.pt")[0])


def test_a_finished_run_is_not_trained_again(tmp_path, uninterrupted):
    path = tmp_path / "checkpoint.pt"
    run(path, validate=validate)
    model, record = run(path, validate=validate, model=small(seed=99), progress=stopping_at(1))
    assert same(model, uninterrupted[0])
    assert record == uninterrupted[1]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with its end or one of its bits lost."""
    if rng.random() < 0.4:
        return content[: rng.randrange(len(content))]
    place = rng.randrange(len(content))
    return (
        content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
    )


def test_a_damaged_checkpoint_starts_over(tmp_path, uninterrupted):
    path = tmp_path / "checkpoint.pt"
    once = SETTINGS.model_copy(update={"epochs": 1, "batch_tokens": 1000})
    whole, _ = run(path, settings=once)
    content = path.read_bytes()
    rng = random.Random(0)
    for damage in (b"", b"not a zip", *(damaged(content, rng) for _ in range(60))):
        path.write_bytes(damage)
        model, _ = run(path, settings=once)
        assert same(model, whole)


def test_the_model_is_left_as_it_was_and_ready_to_be_used(tmp_path, uninterrupted):
    for model, _ in (uninterrupted, _interrupted_model(tmp_path)):
        assert not model.training
        assert model.config._attn_implementation == small().config._attn_implementation


def _interrupted_model(tmp_path):
    model = small()
    with pytest.raises(Interrupted):
        run(tmp_path / "checkpoint.pt", model=model, progress=stopping_at(2))
    return model, None


def test_dropout_changes_training_and_nothing_else():
    model, pack = small(attention_dropout=0.0), Pack.of_documents(documents(0))
    reader = PackedLlama(model, dropout=0.5)
    with use_packed_attention(model):
        model.train()
        assert reader.loss(pack) != reader.loss(pack)
        model.eval()
        assert reader.loss(pack) == PackedLlama(model).loss(pack)


def test_the_loss_of_a_pack_is_that_of_each_document_alone():
    model = small().eval()
    with use_packed_attention(model):
        found = PackedLlama(model).loss(Pack.of_documents(documents(0)), reduction="sum")
    alone = 0.0
    for document in documents(0):
        tokens = torch.from_numpy(document.tokens)[None].long()
        alone += model(tokens, labels=tokens).loss * (len(document) - 1)
    torch.testing.assert_close(found, alone)


def test_the_loss_falls(tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 30, "dropout": 0.0})
    same_each_time = documents(0)
    record = train_on_packs(
        small(attention_dropout=0.0),
        lambda _epoch: same_each_time,
        settings,
        seed=0,
        pad=0,
        checkpoint=tmp_path / "checkpoint.pt",
    )
    losses = [row["loss"] for row in record.losses]
    assert len(losses) == 30
    assert losses[0] > np.log(20) - 0.5
    assert losses[-1] < losses[0] / 2


def test_records_count_steps_and_tokens(tmp_path):
    _, record = run(tmp_path / "checkpoint.pt", validate=lambda _model: 1.5)
    assert record.units == sum(len(d) for epoch in range(3) for d in documents(epoch))
    assert [row["validation_loss"] for row in record.losses] == [1.5] * 3
    assert record.losses[-1]["step"] == record.steps
    assert set(asdict(record)) == {"losses", "steps", "units"}


def test_without_validation_no_such_loss_is_written(tmp_path):
    _, record = run(tmp_path / "checkpoint.pt")
    assert all("validation_loss" not in row for row in record.losses)


@pytest.mark.parametrize("budget", [1, 30, 200, 10**6])
def test_every_document_is_in_one_pack_within_the_budget(budget):
    written = documents(0)
    packs = _packs(written, budget, np.random.default_rng(0))
    assert sorted(id(d) for pack in packs for d in pack) == sorted(map(id, written))
    for pack in packs:
        assert sum(map(len, pack)) <= budget or len(pack) == 1


def test_no_documents_are_no_packs():
    assert _packs([], 60, np.random.default_rng(0)) == []


def test_packs_are_others_with_other_randomness():
    written = documents(0)
    firsts = [id(_packs(written, 60, np.random.default_rng(seed))[0][0]) for seed in range(5)]
    assert len(set(firsts)) > 1


def test_the_learning_rate_rises_then_falls_to_zero():
    positions = [
        Position(2 * e + b + 1, e, b, batches=2, epochs=5) for e in range(5) for b in (0, 1)
    ]
    factors = [_rate_factor(position, 4) for position in positions]
    assert factors == pytest.approx([0.25, 0.5, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0])
    assert _rate_factor(positions[0], 0) == pytest.approx(0.9)


def test_two_readings_that_agree_cost_nothing_and_others_what_they_disagree():
    pack = Pack.of_documents(documents(0))
    model = small(attention_dropout=0).train()
    with use_packed_attention(model), torch.no_grad():
        alone = float(PackedLlama(model).loss(pack))
        assert float(PackedLlama(model, r_drop=3).loss(pack)) == pytest.approx(alone, abs=1e-6)
        torch.manual_seed(5)
        apart = float(PackedLlama(model, dropout=0.3, r_drop=1e-9).loss(pack))
        torch.manual_seed(5)
        agreeing = float(PackedLlama(model, dropout=0.3, r_drop=1).loss(pack))
        torch.manual_seed(5)
        twice = float(PackedLlama(model, dropout=0.3, r_drop=2).loss(pack))
    assert agreeing > apart
    assert twice - agreeing == pytest.approx(agreeing - apart, rel=0.01)


def test_the_disagreement_is_the_symmetric_divergence_of_the_predictions():
    model = small(attention_dropout=0).train()
    document = documents(0)[0]
    pack = Pack.of_documents([document])
    with use_packed_attention(model), torch.no_grad():
        torch.manual_seed(5)
        found = float(PackedLlama(model, dropout=0.5, r_drop=1).loss(pack))
        torch.manual_seed(5)
        reader = PackedLlama(model, dropout=0.5)
        read = [torch.from_numpy(part).repeat(2) for part in (pack.tokens, pack.positions)]
        bounds = torch.tensor([0, len(document), 2 * len(document)], dtype=torch.int32)
        hidden = reader._hidden(read[0][None], read[1][None], bounds)[0]
        logs = model.lm_head(hidden).log_softmax(-1).reshape(2, len(document), -1)[:, :-1]
    answers = torch.from_numpy(document.tokens[1:]).long()
    right = logs.gather(2, answers.expand(2, -1)[..., None])
    apart = [
        torch.nn.functional.kl_div(logs[a], logs[b], log_target=True, reduction="batchmean")
        for a, b in ((0, 1), (1, 0))
    ]
    assert found == pytest.approx(float(-right.mean() + sum(apart) / 2), rel=1e-5)


def test_nothing_is_read_twice_outside_training():
    model = small().eval()
    pack = Pack.of_documents(documents(0))
    with use_packed_attention(model), torch.no_grad():
        assert PackedLlama(model, r_drop=1).loss(pack) == PackedLlama(model).loss(pack)
