"""A server of the OpenAI kind as a generator; the server of these tests runs a real model."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from completions_server import CompletionsApp, serving
from gloss.config import Decoding
from gloss.decoding import completions
from gloss.decoding.completions import CompletionsGenerator, CompletionsServer, ServerError
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.errors import ConfigError
from gloss.prompts import TITLES_ONLY
from gloss.testing.generators import GeneratorContract

SETTINGS = Decoding(mode="free", beams=4, max_new_tokens=12)


@pytest.fixture(params=["vllm", "somebody"])
def app(request, language) -> CompletionsApp:
    """With beams, and without: then titles are drawn."""
    return CompletionsApp(language, owned_by=request.param)


@pytest.fixture
def server(app):
    with serving(app) as url:
        yield CompletionsServer(url, "tiny", at_once=2)


@pytest.fixture
def remote(server) -> CompletionsGenerator:
    return CompletionsGenerator(server, SETTINGS, template=TITLES_ONLY)


@pytest.fixture
def prompts(remote, dataset, catalogue):
    examples = dataset.examples("test", limit=3)
    return remote.prompt_builder().build_all(examples, catalogue)


class TestCompletions(GeneratorContract):
    @pytest.fixture
    def generator(self, remote):
        return remote


@pytest.mark.parametrize("app", ["vllm"], indirect=True)
def test_a_server_with_beams_writes_what_our_own_search_writes(remote, prompts, language):
    ours = TransformersGenerator(language, SETTINGS).generate(prompts)
    for here, there in zip(ours, remote.generate(prompts), strict=True):
        assert [query.text for query in here.queries] == [query.text for query in there.queries]
        scores = [query.logprob for query in here.queries]
        assert [query.logprob for query in there.queries] == pytest.approx(scores, abs=1e-4)


def test_a_context_that_the_server_names_bounds_the_prompts(remote, language, catalogue):
    assert remote.context == language.model.config.max_position_embeddings
    items = [item.id for item in catalogue]
    prompt = remote.prompt_builder().build("u", items, [*map(catalogue.title, items)])
    tokens = len(language.tokenizer(prompt.text)["input_ids"])
    assert prompt.dropped > 0
    assert tokens <= remote.context - SETTINGS.max_new_tokens


def test_a_busy_server_is_asked_again(app, server, monkeypatch):
    pauses = []
    monkeypatch.setattr(completions.time, "sleep", pauses.append)
    app.refusals = [503, 429]
    CompletionsGenerator(server, SETTINGS)
    assert pauses == [0.5, 1.0]
    app.refusals = [503] * 3
    with pytest.raises(ServerError, match="HTTP 503, refused with 503"):
        CompletionsGenerator(replace(server, retries=2), SETTINGS)


def test_what_cannot_succeed_is_not_tried_again(app, remote, prompts):
    app.refusals = [400]
    with pytest.raises(ServerError, match="HTTP 400, refused with 400"):
        remote.generate(prompts[:1])
    assert app.requests == []


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nobody = CompletionsServer(f"http://127.0.0.1:{port}", "tiny", retries=0)
    with pytest.raises(ServerError, match=f"127.0.0.1:{port} does not answer"):
        CompletionsGenerator(nobody, SETTINGS)


def test_the_key_is_sent(app, server):
    app.key = "secret"
    with pytest.raises(ServerError, match="HTTP 401, no such key"):
        CompletionsGenerator(server, SETTINGS)
    CompletionsGenerator(replace(server, key="secret"), SETTINGS)


def test_a_model_that_the_server_lacks_is_refused_with_those_that_it_has(server):
    with pytest.raises(ConfigError, match=r"no model 'other' \(it has: tiny\)"):
        CompletionsGenerator(replace(server, model="other"), SETTINGS)


def test_a_server_cannot_keep_to_a_catalogue(server):
    with pytest.raises(ConfigError, match="--decoding free"):
        CompletionsGenerator(server, Decoding())


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "http://[::"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="no address of a server"):
        CompletionsGenerator(CompletionsServer(url, "tiny"), SETTINGS)
