"""A generator that asks a server of the OpenAI kind (`/v1/completions`) for titles.

The server holds the model and no catalogue: it writes any text, and retrieval finds what is meant.
Of vLLM's server beams are asked for (`use_beam_search`); any other draws `n` samples, whose seed is
a function of nothing but the number of tries, so that a server that keeps to seeds writes the same
again. A title's score is the sum of the log-probabilities that the server tells for its tokens.

Knows prompts and titles; has neither tokenizer nor weights, and needs no torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation, Query
from gloss.decoding.generator import Footprint
from gloss.errors import ConfigError, GlossError, reason_of, require_extra
from gloss.progress import Progress, silent
from gloss.prompts import PAPER_TEMPLATE, Prompt, PromptBuilder, PromptTemplate
from gloss.retries import Pauses

__all__ = ["CompletionsGenerator", "CompletionsServer", "ServerError"]

_LETTERS_PER_TOKEN = 3
"""UTF-8 bytes of a token, counted low: those of English titles have four or more."""
_USUAL_CONTEXT = 4096
"""Tokens of prompt and answer where neither the server nor the caller says."""
_FOR_NOW = (408, 409, 429, 500, 502, 503, 504)
_PAUSES = Pauses(first=0.5, longest=30.0)


class ServerError(GlossError):
    """The server refused a request, or did not answer it."""


@dataclass(frozen=True, slots=True)
class CompletionsServer:
    """url: of the server, with or without `/v1`. model: its name there. key: sent as a bearer
    token. timeout: seconds for one answer; retries: of a request that failed for now; at_once:
    requests that are under way together."""

    url: str
    model: str
    key: str | None = None
    timeout: float = 120.0
    retries: int = 4
    at_once: int = 16


class CompletionsGenerator:
    """Titles by a server's model, free.

    context: tokens of prompt and answer at most; None: as the server says. Raises ConfigError for a
    mode that needs the catalogue, or a model that the server does not have; ServerError if it does
    not answer.
    """

    def __init__(
        self,
        server: CompletionsServer,
        settings: Decoding,
        *,
        template: PromptTemplate = PAPER_TEMPLATE,
        context: int | None = None,
    ) -> None:
        if settings.mode != "free":
            raise ConfigError("a server holds no catalogue: add --decoding free")
        self.server, self.settings, self.template = server, settings, template
        self._connection = _Connection(server)
        described = self._connection.model()
        self.context = context or described.get("max_model_len") or _USUAL_CONTEXT
        self.has_beams = described.get("owned_by") == "vllm"

    def prompt_builder(self) -> PromptBuilder:
        """See `Generator.prompt_builder`; tokens are estimated from bytes, generously."""
        return PromptBuilder(
            self.template,
            count_tokens=_about_tokens,
            max_tokens=self.context - self.settings.max_new_tokens,
        )

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """One request a prompt; see `Generator.generate`."""
        generations = []
        with ThreadPoolExecutor(self.server.at_once) as pool:
            try:
                for generation in pool.map(self._generation, prompts):
                    generations.append(generation)
                    progress(len(generations), len(prompts))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return generations

    def within(self, catalogue: Catalogue) -> CompletionsGenerator:
        """Itself: what it writes is searched for in that catalogue."""
        return self

    def footprint(self) -> Footprint:
        """Memory is the server's."""
        return Footprint(self.settings.max_new_tokens * self.settings.beams, 0)

    def _generation(self, prompt: Prompt) -> Generation:
        answer = self._connection.post("completions", self._request(prompt))
        choices = answer.get("choices")
        if not isinstance(choices, list):
            raise ServerError(f"{self.server.url} answers without choices")
        titles = [_title_of(choice, self.template) for choice in choices]
        most = self.settings.returned or self.settings.beams
        return Generation(prompt.user, prompt.history, _queries(titles)[:most])

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.server.model,
            "prompt": prompt.text,
            "n": self.settings.beams,
            "max_tokens": self.settings.max_new_tokens,
            "logprobs": 1,
        }
        if self.has_beams:
            return request | {
                "use_beam_search": True,
                "length_penalty": self.settings.length_penalty,
                "temperature": 0,
                "include_stop_str_in_output": True,  # otherwise the end's probability is not told
            }
        return request | {"temperature": 1, "seed": 0, "stop": ["\n"]}


def _about_tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / _LETTERS_PER_TOKEN)


Title = tuple[str, float | None]
"""What was written, and its log-probability, None if the server tells none."""


def _title_of(choice: Any, template: PromptTemplate) -> Title:
    """The first line of an answer that says anything, and the sum over the tokens up to its end.

    A model that was not trained on the prompt goes on after the title.
    """
    text = choice.get("text") if isinstance(choice, dict) else None
    if not isinstance(text, str):
        raise ServerError("the server answers with a choice that holds no text")
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    line, end = (text[start:], len(text) + 1) if end < 0 else (text[start:end], end)
    return template.title_of(line), _logprob(choice.get("logprobs"), end)


def _logprob(told: Any, end: int) -> float | None:
    """The sum of the log-probabilities of the tokens that begin before the letter `end`.

    Offsets count from the first token's: some servers count the prompt, too.

    >>> _logprob({"token_logprobs": [-1.0, -0.5, -9.0], "text_offset": [40, 44, 49]}, 9)
    -1.5
    """
    if not isinstance(told, dict):
        return None
    logprobs, offsets = told.get("token_logprobs") or [], told.get("text_offset") or []
    if not logprobs or None in logprobs or len(offsets) != len(logprobs):
        return None
    before = [
        logprob for logprob, at in zip(logprobs, offsets, strict=True) if at - offsets[0] < end
    ]
    return min(0.0, float(sum(before)))


def _queries(titles: Sequence[Title]) -> tuple[Query, ...]:
    """Likeliest first, without what is empty; a title that was written twice counts once, by its
    best. Where a score is missing the server's order stays.

    >>> [query.text for query in _queries([("ball", -2.0), ("kite", -1.0), ("ball", -1.5)])]
    ['kite', 'ball']
    """
    written = [title for title in titles if title[0]]
    if all(logprob is not None for _, logprob in written):
        written.sort(key=lambda title: -(title[1] or 0.0))
    best = dict(reversed(written))
    order = dict.fromkeys(text for text, _ in written)
    return tuple(Query(text, beam, best[text]) for beam, text in enumerate(order))


class _Connection:
    """Requests to a server: tried again while it is busy, refused in one line."""

    def __init__(self, server: CompletionsServer) -> None:
        require_extra("calling a server", "client", "httpx")
        import httpx

        self.server = server
        self._errors = (httpx.TransportError,)
        self._invalid = (httpx.InvalidURL, httpx.UnsupportedProtocol)
        url = server.url.rstrip("/")
        headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
        try:
            self._http = httpx.Client(
                base_url=url if url.endswith("/v1") else f"{url}/v1",
                timeout=server.timeout,
                headers=headers,
                limits=httpx.Limits(max_connections=server.at_once),
            )
        except self._invalid as error:
            raise ConfigError(f"{server.url} is no address of a server: {error}") from None

    def model(self) -> dict[str, Any]:
        """What the server says of the model; ConfigError if it lists others only."""
        listed = self._answer("GET", "models").get("data")
        models = [each for each in listed or () if isinstance(each, dict)]
        for each in models:
            if each.get("id") == self.server.model:
                return each
        names = ", ".join(str(each.get("id")) for each in models) or "none"
        raise ConfigError(f"{self.server.url} has no model {self.server.model!r} (it has: {names})")

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        for pause in _PAUSES.after_tries(self.server.retries):
            try:
                answer = self._http.request(method, path, json=body)
            except self._invalid as error:
                raise ConfigError(f"{self.server.url} is no address of a server: {error}") from None
            except self._errors as error:
                if pause is None:
                    raise ServerError(
                        f"{self.server.url} does not answer: {reason_of(error)}"
                    ) from None
                time.sleep(pause)
                continue
            if answer.is_success:
                return self._read(answer)
            if pause is None or answer.status_code not in _FOR_NOW:
                raise ServerError(
                    f"{self.server.url} refuses: HTTP {answer.status_code}, {_detail(answer)}"
                )
            time.sleep(_PAUSES.asked_by(answer, pause))
        raise AssertionError("the last try has no pause")

    def _read(self, answer: Any) -> dict[str, Any]:
        try:
            read = answer.json()
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise ServerError(f"{self.server.url} is no server of the OpenAI kind: no JSON object")
        return read


def _detail(answer: Any) -> str:
    """The message of a refusal: `{"error": {"message": …}}`, or `{"message": …}` of older vLLM."""
    try:
        read = answer.json()
        message = (read.get("error") or read)["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        message = answer.text
    return reason_of(ValueError(message)) if message else "without a reason"
