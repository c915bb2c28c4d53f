"""A server of the OpenAI kind in this process, with a real model behind it: `/v1/models` and
`/v1/completions` with `n`, `logprobs`, `seed`, `stop` and vLLM's `use_beam_search`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import torch

from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings
from gloss.language.loading import LanguageModel

__all__ = ["CompletionsApp", "serving"]

Written = tuple[list[int], list[float]]
"""The tokens of an answer, the end included, and the log-probability of each."""


class CompletionsApp:
    """What the server says. owned_by: "vllm" for one that has beams; key: that it asks for;
    refusals: statuses that it answers with first, one a request."""

    def __init__(
        self, language: LanguageModel, *, owned_by: str = "vllm", key: str | None = None
    ) -> None:
        self.language, self.owned_by, self.key = language, owned_by, key
        self.end = language.tokenizer.eos_token_id
        self.refusals: list[int] = []
        self.requests: list[dict[str, Any]] = []
        self._lock = Lock()

    def answer(self, path: str, body: dict[str, Any], key: str | None) -> tuple[int, Any]:
        with self._lock:
            if self.refusals:
                status = self.refusals.pop(0)
                return status, {"error": {"message": f"refused with {status}"}}
            if self.key and key != f"Bearer {self.key}":
                return 401, {"error": {"message": "no such key"}}
            if path == "/v1/models":
                limit = self.language.model.config.max_position_embeddings
                model = {"id": "tiny", "owned_by": self.owned_by, "max_model_len": limit}
                return 200, {"object": "list", "data": [model]}
            self.requests.append(body)
            return 200, {"choices": [self._choice(each) for each in self._written(body)]}

    def _written(self, body: dict[str, Any]) -> list[Written]:
        prompt = self.language.tokenizer(body["prompt"])["input_ids"]
        if body.get("use_beam_search"):
            return self._beams(prompt, body)
        torch.manual_seed(body["seed"])
        return [self._sample(prompt, body["max_tokens"]) for _ in range(body["n"])]

    def _beams(self, prompt: list[int], body: dict[str, Any]) -> list[Written]:
        settings = BeamSettings(
            body["n"], body["n"], body["max_tokens"], body["length_penalty"], self.end
        )
        (hypotheses,) = beam_search(self.language.model, [prompt], settings)
        tokens = [[*each.tokens, self.end][: body["max_tokens"]] for each in hypotheses]
        return [(each, self._logprobs(prompt, each)) for each in tokens]

    @torch.inference_mode()
    def _logprobs(self, prompt: list[int], answer: list[int]) -> list[float]:
        logits = self.language.model(torch.tensor([prompt + answer])).logits[0].float()
        following = logits.log_softmax(-1)[len(prompt) - 1 : -1]  # (answer, vocabulary)
        return following.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist()

    @torch.inference_mode()
    def _sample(self, prompt: list[int], most: int) -> Written:
        tokens: list[int] = []
        while len(tokens) < most and (not tokens or tokens[-1] != self.end):
            logits = self.language.model(torch.tensor([prompt + tokens])).logits[0, -1].float()
            tokens.append(int(torch.multinomial(logits.softmax(-1), 1)))
        return tokens, self._logprobs(prompt, tokens)

    def _choice(self, written: Written) -> dict[str, Any]:
        tokens, logprobs = written
        decode = self.language.tokenizer.decode
        spoken = tokens[:-1] if tokens[-1] == self.end else tokens
        offsets = [len(decode(tokens[:n])) for n in range(len(tokens))]
        return {
            "text": decode(spoken),
            "logprobs": {"token_logprobs": logprobs, "text_offset": offsets},
        }


@contextmanager
def serving(app: CompletionsApp) -> Iterator[str]:
    """The address of a server that answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            status, said = app.answer(self.path, body, self.headers.get("Authorization"))
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """The test says what went wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
