"""Trainings that any number of processes can do: one in a test, or several, when torchrun runs this
file. All of them draw dropout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from gloss.config import Decoding, LoraModel, Training
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.dataset import Dataset
from gloss.data.histories import History, UserId
from gloss.experiment import stages
from gloss.language.packing import Document
from gloss.language.scratch.packed_training import train_on_packs
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.sasrec.training import train_network
from gloss.training import loop
from gloss.training.histories import HistoryLengthWeighting, train_on_histories
from gloss.training.processes import (
    is_first_process,
    join_processes,
    leave_processes,
    wait_for_all,
)
from tiny_llama import TRAINING

EPOCHS = 3
_ITEMS = 30


class Interrupted(Exception):
    pass


def until(step: int | None) -> Progress:
    """Progress that ends a run in the middle."""

    def progress(done: int, _total: int | None, note: str = "", /) -> None:
        if done == step:
            raise Interrupted

    return progress if step else silent


def packs(checkpoint: Path, *, stop: int | None = None) -> list[dict[str, float]]:
    """A Llama from zero, with R-Drop, on packs of which the last may hold one document."""
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    settings = Training(
        epochs=EPOCHS,
        batch_tokens=60,
        learning_rate=0.01,
        warmup_steps=3,
        dropout=0.2,
        attention_dropout=0.0,
        r_drop=0.5,
    )
    model = LlamaForCausalLM(config)
    record = train_on_packs(
        model, _documents, settings, seed=7, pad=0, checkpoint=checkpoint, progress=until(stop)
    )
    return [*record.losses, _weights(model)]


def _documents(epoch: int) -> list[Document]:
    rng = np.random.default_rng(epoch)
    lengths = [*rng.integers(2, 14, 40), 60]  # the last one fills a pack alone
    return [Document.of(rng.integers(1, 20, length).astype(np.int32)) for length in lengths]


def sasrec(checkpoint: Path, *, stop: int | None = None) -> list[dict[str, float]]:
    """SASRec on histories of 2 to 9 purchases; the last batch has fewer users."""
    items = Catalogue([Item(ItemId(f"i{n}"), f"Title {n}") for n in range(_ITEMS)])
    histories = [
        History(UserId(f"u{user}"), tuple(ItemId(f"i{row}") for row in rows))
        for user, rows in enumerate(_histories())
    ]
    settings = SASRecSettings(
        epochs=EPOCHS, batch_users=8, width=16, length=6, dropout=0.3, text=False
    )
    network, losses = train_network(
        histories,
        items,
        vectors=None,
        settings=settings,
        seed=3,
        checkpoint=checkpoint,
        progress=until(stop),
    )
    return [*losses, _weights(network)]


def _histories() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, _ITEMS, rng.integers(2, 10)) for _ in range(33)]


def dual_encoder(checkpoint: Path, *, stop: int | None = None) -> list[dict[str, float]]:
    """The dual encoder from a tiny encoder, whose own dropout is on, with drawn candidates.

    In the last batch is one user.
    """
    from gloss.rankers.dual_encoder.network import Network
    from gloss.retrieval.dense.encoders import open_encoder

    histories = _histories()
    settings = DualEncoderSettings(epochs=EPOCHS, candidates=20, recent=2, decay=0.5)
    torch.manual_seed(0)
    network = Network(
        open_encoder(str(write_tiny_encoder(checkpoint.parent / "encoder"))).model(),
        [f"title {n}" for n in range(_ITEMS)],
        settings,
        HistoryLengthWeighting(histories, 0.5),
    )
    losses = train_on_histories(
        network,
        torch.optim.AdamW(network.parameter_groups()),
        histories,
        network.loss,
        epochs=EPOCHS,
        batch_users=16,
        seed=3,
        checkpoint=checkpoint,
        progress=until(stop),
    )
    return [*losses, _weights(network)]


def adapter(checkpoint: Path, *, stop: int | None = None) -> list[dict[str, float]]:
    """An adapter without dropout; 13 users are validated, which fill no batches of four."""
    folder, out = checkpoint.parent, checkpoint.with_suffix("")
    shop = Dataset.load(folder / "shop")
    stages.train(
        shop.path,
        out,
        model=LoraModel(recipe="lora", base=str(folder / "base"), quantization="none", rank=4),
        training=TRAINING.model_copy(update={"validation_users": 13}),
        titles="paper",
        seed=1,
        progress=until(stop),
    )
    wait_for_all()
    rows = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    weights = load_file(out / "adapter_model.safetensors").values()
    return [*rows, {"norm": float(sum(each.double().norm() for each in weights))}]


def write_tiny_encoder(folder: Path) -> Path:
    """A sentence-transformers folder with random weights; made once."""
    if folder.is_dir():
        return folder
    draft = folder.with_name(f".{folder.name}")
    tokenizer = train_tokenizer([f"title {n}" for n in range(_ITEMS)], vocabulary=300)
    tokenizer.pad_token = tokenizer.eos_token
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds.items())
    ]
    (draft / "modules.json").write_text(json.dumps(modules))
    (draft / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (draft / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    draft.rename(folder)
    return folder


def _weights(network: torch.nn.Module) -> dict[str, float]:
    """What all weights come to, as one number."""
    norms = [weights.detach().double().norm() for weights in network.parameters()]
    return {"norm": float(sum(norms))}


TRAININGS: dict[str, Callable[..., list[dict[str, float]]]] = {
    "packs": packs,
    "sasrec": sasrec,
    "dual-encoder": dual_encoder,
    "adapter": adapter,
}
_STOPS = {"packs": 9, "sasrec": 6, "dual-encoder": 4, "adapter": 8}
"""The step in which a training is interrupted: in the second epoch."""


NEEDS = {"dual-encoder": "sentence_transformers", "adapter": "peft"}
"""Packages without which a training cannot be done."""


def interrupted(name: str, checkpoint: Path) -> None:
    """A training that leaves a checkpoint from before it was interrupted."""
    # Where checkpoints are a minute apart, one is written in every step.
    with patch.object(loop, "_CHECKPOINT_SECONDS", -1.0), suppress(Interrupted):
        TRAININGS[name](checkpoint, stop=_STOPS[name])
        raise AssertionError("it was not interrupted")


def write_lists(folder: Path, name: str) -> None:
    """What a tiny model writes for the shop's users, in files of four users."""
    stages.generate(
        folder / "base",
        folder / "shop",
        folder / name,
        split="test",
        settings=Decoding(beams=2, shard_users=4, mode="catalogue"),
        limit_users=18,
    )


def _all_together(folder: Path, names: list[str]) -> None:
    """Every training whole, one that was begun by one process gone on with, and one begun."""
    join_processes()
    results: dict[str, Any] = {}
    for name in names:
        results[name] = TRAININGS[name](folder / f"{name}-together.pt")
        results[f"{name}, gone on"] = TRAININGS[name](folder / f"{name}-by-one.pt")
        interrupted(name, folder / f"{name}-by-two.pt")
    write_lists(folder, "together")
    if is_first_process():
        (folder / "results.json").write_text(json.dumps(results))
    leave_processes()


if __name__ == "__main__":
    _all_together(Path(sys.argv[1]), sys.argv[2:])
