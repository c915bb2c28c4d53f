"""Training from zero on a CUDA device: compiled layers on packs of one size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gloss.config import ScratchModel, Training
from gloss.language.packing import Document, Pack
from gloss.language.scratch.llama import new_model
from gloss.language.scratch.packed_llama import PackedLlama, use_packed_attention
from gloss.language.scratch.packed_training import train_on_packs
from gloss.training import loop

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # torch's compiler warns of what it does itself.
    pytest.mark.filterwarnings("default"),
]
SHAPE = ScratchModel(vocabulary=300, layers=2, width=128, heads=2, context=256)
SETTINGS = Training(
    epochs=8, batch_tokens=2048, learning_rate=3e-3, warmup_steps=5, dropout=0.1, clip=1.0
)


def documents(epoch: int) -> list[Document]:
    """Runs of numbers that go up by one: soon learned."""
    rng = np.random.default_rng(epoch)
    starts, lengths = rng.integers(1, 150, 100), rng.integers(2, 120, 100)
    runs = zip(starts, lengths, strict=True)
    return [Document.of(np.arange(s, s + n, dtype=np.int32)) for s, n in runs]


def model(seed: int = 0) -> Any:
    return new_model(SHAPE, vocabulary=300, end=0, dropout=0.0, seed=seed).cuda()


def test_a_compiled_pack_with_filling_has_the_loss_of_each_document_alone() -> None:
    trained = model().eval()
    batch = documents(0)[:20]
    size = 2048
    with use_packed_attention(trained), torch.no_grad():
        pack = Pack.filled(batch, size, 0)
        assert len(pack.tokens) == size
        compiled = float(PackedLlama(trained, compiled=True).loss(pack, reduction="sum"))
    alone = 0.0
    with torch.no_grad():
        for document in batch:
            tokens = torch.from_numpy(document.tokens)[None].long().cuda()
            alone += float(trained(tokens, labels=tokens).loss) * (len(document) - 1)
    assert compiled == pytest.approx(alone, rel=0.01)


def test_the_loss_falls_and_a_killed_run_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    whole = train_on_packs(
        model(), documents, SETTINGS, seed=0, pad=0, checkpoint=tmp_path / "a.pt"
    )
    losses = [row["loss"] for row in whole.losses]
    assert losses[-1] < losses[0] / 2

    class Killed(Exception):
        pass

    def die(done: int, _total: int | None, _note: str = "") -> None:
        if done == whole.steps // 2:
            raise Killed

    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "b.pt"
    with pytest.raises(Killed):
        train_on_packs(model(), documents, SETTINGS, seed=0, pad=0, checkpoint=path, progress=die)
    resumed = train_on_packs(model(9), documents, SETTINGS, seed=0, pad=0, checkpoint=path)
    assert (resumed.steps, resumed.units) == (whole.steps, whole.units)
    assert resumed.losses[-1]["loss"] == pytest.approx(losses[-1], rel=0.1)
