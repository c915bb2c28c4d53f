"""`gloss generate --server`: from the command line to generations that rank as others do."""

from __future__ import annotations

import pytest

from completions_server import CompletionsApp, serving
from gloss.artifacts import open_artifact
from gloss.data.generations import read_generations


@pytest.fixture
def app(language):
    return CompletionsApp(language, key="secret")


def test_titles_of_a_server_become_generations(gloss, app, run, tmp_path, monkeypatch):
    key, out = tmp_path / "key", tmp_path / "generations"
    key.write_text("secret\n")
    with serving(app) as url:
        asked = ("generate", "-m", "tiny", "-d", run.data, "--server", url, "--limit-users", 4)
        short = ("--decoding", "free", "--beams", 3, "--max-new-tokens", 8)
        assert "no such key" in gloss(*asked, *short, "-o", out).error
        assert gloss(*asked, *short, "-o", out, "--server-key", key).code == 0
        monkeypatch.setenv("GLOSS_SERVER_KEY", "secret")
        assert gloss(*asked, *short, "-o", tmp_path / "again").code == 0
    generations = read_generations(out)
    assert len(generations) == 4
    assert all(1 <= len(each.queries) <= 3 for each in generations)
    assert read_generations(tmp_path / "again") == generations
    manifest = (out / "manifest.json").read_text()
    assert "secret" not in manifest
    assert url not in manifest
    assert open_artifact(out, "generations").config["served"] == "tiny"


def test_a_server_and_what_is_loaded_here_exclude_each_other(gloss):
    call = ("generate", "-m", "tiny", "-d", "x", "-o", "y", "--server", "http://127.0.0.1:9")
    assert "leave out" in gloss(*call, "--engine", "vllm").error
    assert "leave out" in gloss(*call, "--dry-run").error


def test_the_catalogue_stays_here(gloss, app, run, tmp_path):
    with serving(app) as url:
        call = ("generate", "-m", "tiny", "-d", run.data, "-o", tmp_path / "out", "--server", url)
        assert "--decoding free" in gloss(*call).error
