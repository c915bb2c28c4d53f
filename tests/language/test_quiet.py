"""Importing and using `gloss.language` leaves the libraries beneath as their user set them up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gloss.language.lora.adapters import load_base
from gloss.language.packed_attention import set_packed_attention

IMPORTS = """
import gloss.language.card
import gloss.language.hub
import gloss.language.loading
import gloss.language.lora.finetune
import gloss.language.scratch.train
"""
SETTINGS = """
from logging import getLogger
from huggingface_hub.utils import are_progress_bars_disabled
from transformers import AttentionInterface
from transformers.utils import logging

def settings():
    return (
        are_progress_bars_disabled(),
        logging.is_progress_bar_enabled(),
        logging.get_verbosity(),
        sorted(AttentionInterface().valid_keys()),
        getLogger("bitsandbytes").level,
        getLogger("bitsandbytes.backends.cpu.ops").level,
    )
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a fresh Python does with this."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
        text=True,
    )


def test_importing_changes_no_setting_and_registers_no_attention():
    ended = run(f"{SETTINGS}\nbefore = settings()\n{IMPORTS}\nassert settings() == before")
    assert ended.stderr == ""


def test_the_package_alone_imports_neither_torch_nor_transformers():
    run("import sys, gloss.language\nassert not {'torch', 'transformers'} & set(sys.modules)")


def test_jax_is_not_imported_where_it_is_installed(tmp_path: Path):
    """It would take 75 % of every GPU's memory; here it is a package that notes its import."""
    (tmp_path / "jax").mkdir()
    note = tmp_path / "noted"
    (tmp_path / "jax" / "__init__.py").write_text(f"open({str(note)!r}, 'w').close()\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    training = """
import numpy as np
from gloss.config import ScratchModel
from gloss.language.scratch.llama import new_model, title_loss
shape = ScratchModel(vocabulary=20, layers=1, width=8, heads=2, context=16)
model = new_model(shape, vocabulary=20, end=0, dropout=0.0, seed=0)
assert title_loss(model, [(np.array([0, 3, 4, 0]), 2)]) > 0
"""
    run(IMPORTS + training, PYTHONPATH=path)
    assert not note.exists()
    run("import jax", PYTHONPATH=path)
    assert note.exists()


def test_loading_draws_nothing_and_leaves_bars_as_they_were(base: Path, capfd):
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    capfd.readouterr()
    load_base(base, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.is_progress_bar_enabled(), are_progress_bars_disabled()) == shown
    logging.enable_progress_bar()
    try:
        AutoModelForCausalLM.from_pretrained(base)
        assert "Loading weights" in capfd.readouterr().err
    finally:
        if not shown[0]:
            logging.disable_progress_bar()


@pytest.mark.parametrize("transformers_bars", [True, False])
@pytest.mark.parametrize("hub_bars", [True, False])
def test_bars_are_put_back_also_after_an_error(transformers_bars: bool, hub_bars: bool):
    code = f"""
from gloss.language.quiet import quiet_hub, quiet_transformers
from huggingface_hub.utils import (
    are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
)
from transformers.utils import logging

if not {transformers_bars}:
    logging.disable_progress_bar()
(enable_progress_bars if {hub_bars} else disable_progress_bars)()
before = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
assert before == ({transformers_bars}, not {hub_bars})
for quiet in (quiet_transformers, quiet_hub):
    try:
        with quiet():
            assert are_progress_bars_disabled()
            raise RuntimeError
    except RuntimeError:
        assert (logging.is_progress_bar_enabled(), are_progress_bars_disabled()) == before
"""
    run(code)


def test_packed_attention_is_one_models_own(base: Path):
    packed, other = load_base(base, device="cpu"), load_base(base, device="cpu")
    before = other.config._attn_implementation
    set_packed_attention(packed)
    assert packed.config._attn_implementation != before
    assert other.config._attn_implementation == before
