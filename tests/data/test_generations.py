from __future__ import annotations

from gloss.config import Loading
from gloss.data.generations import GenerationsConfig


def recorded(**more) -> dict:
    return GenerationsConfig(split="test", titles="fair", limit_users=None, **more).to_json()


def test_manifests_of_our_own_search_are_those_from_before_there_were_engines():
    assert {"loading", "served"}.isdisjoint(recorded())
    assert "engine" not in recorded(loading=Loading(context=64))["loading"]


def test_another_engine_and_a_server_are_recorded_by_name():
    assert recorded(loading=Loading(engine="vllm"))["loading"]["engine"] == "vllm"
    assert recorded(served="tiny")["served"] == "tiny"
