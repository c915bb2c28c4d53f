"""What nobody should send, a little of it; benchmarks/fuzz_serving.py sends much."""

from __future__ import annotations

import random
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest

from services import running

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_EXAMPLES = 30
"""For each operation: about 1,300 requests, in half a minute."""


@pytest.fixture
def fuzz(monkeypatch):
    """The script of the benchmarks, as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("fuzz_serving")


EXPECTED = {
    "declared gigabyte": 413,
    "bad chunk": 400,
    "two lengths": 400,
    "negative length": 400,
    "deep JSON": 400,
    "NUL": 422,
    "lone surrogate": 422,
    "not UTF-8": 400,
    "history of a million": 413,
    "long number": 400,
    "infinite number": 422,
    "endless header": 400,
    "path outside": 404,
}


def test_bytes_that_are_no_request_are_refused_and_others_answered(shop, fuzz):
    rng = random.Random(0)
    for name, make in fuzz.GARBAGE.items():
        seconds = 5 if name in EXPECTED else 0.1
        status = fuzz.send_garbage(shop.port, make(rng), seconds=seconds)
        assert status == EXPECTED.get(name, status), name
        assert status is None or status < 500, name
    assert EXPECTED.keys() < fuzz.GARBAGE.keys()
    assert shop.client.get("/livez").text == "ok\n"
    assert shop.post("/v1/recommend", history=["Kite"]).status_code == 200


def test_every_answer_is_as_the_openapi_document_says(rankers_bundle, tmp_path, fuzz):
    """Without a language model: what is asked is whether requests and answers are as described."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("schemathesis", path=beside) or shutil.which("schemathesis")
    if program is None:
        pytest.skip("schemathesis is not installed")
    with running(rankers_bundle, tmp_path / "state.db") as shop:
        url = f"http://127.0.0.1:{shop.port}/v1/openapi.json"
        assert fuzz.run_schemathesis(program, url, _EXAMPLES, 0) == 0
