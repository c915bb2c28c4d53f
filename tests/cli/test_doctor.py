from __future__ import annotations

import json
from importlib import metadata

from gloss.cli import doctor


def test_the_doctor_names_what_this_machine_has(done):
    findings = json.loads(done("doctor", "--json").out)
    assert findings["gloss"] == metadata.version("gloss-rec")
    assert int(findings["processor cores"]) >= 1
    assert findings["memory"].endswith(" GiB")
    assert findings["train, generate, demo, run, recommend"].startswith("yes: torch ")


def test_the_doctor_tells_people_the_same(done):
    said = done("doctor").out.split()
    for name in json.loads(done("doctor", "--json").out):
        assert set(name.split()) <= set(said)


def test_without_an_extra_the_doctor_names_the_line_that_installs_it(done, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    findings = json.loads(done("doctor", "--json").out)
    line = 'pip install ".[train]" in the checkout of GLoSS'
    missing = findings["train, generate, demo, run, recommend"]
    assert missing == f"no torch, transformers, safetensors, tokenizers: {line}"
    assert findings["GPU"] == "unknown without torch"
