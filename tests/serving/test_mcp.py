"""`gloss mcp`: the official client of the protocol asks a real process."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from gloss.recommender.recommender import Recommender

pytest.importorskip("mcp", reason='needs the extra "mcp"')

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def asked(bundle, calls):
    """The tools of a server, and what it answers to these calls, one after the other."""
    command = "from gloss.cli.main import main; main()"
    server = StdioServerParameters(
        command=sys.executable, args=["-c", command, "mcp", str(bundle)], env={**os.environ}
    )
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        tools = (await session.list_tools()).tools
        return tools, [await session.call_tool(name, given) for name, given in calls]


@pytest.fixture(scope="module")
def recommender(shop_bundle) -> Recommender:
    return Recommender.open(shop_bundle)


def test_an_assistant_recommends_searches_and_is_told_why(shop_bundle, recommender):
    history = [item.title for item in recommender.catalogue][:2]
    (expected,) = recommender.recommend([history], 3)
    first = expected.items[0]
    tools, answers = asyncio.run(
        asked(
            shop_bundle,
            [
                ("recommend", {"history": history, "k": 3}),
                ("recommend", {"history": history, "k": 3, "exclude": [first.item]}),
                ("search", {"text": history[0], "k": 1}),
                ("explain", {"history": history, "item": first.item}),
                ("explain", {"history": history, "item": "no such item"}),
                ("recommend", {"history": ["a\x00b"]}),
            ],
        )
    )
    assert {tool.name for tool in tools} == {"recommend", "search", "explain"}
    assert all(tool.annotations.read_only_hint for tool in tools)
    made, without, found, explained, unknown, wrong = answers
    assert [each["item"] for each in made.structured_content["items"]] == [
        each.item for each in expected.items
    ]
    assert first.item not in [each["item"] for each in without.structured_content["items"]]
    assert found.structured_content["items"][0]["title"] == history[0]
    told = explained.structured_content
    assert (told["rank"], told["reason"], told["why"]) == (1, first.reason, first.why)
    assert unknown.is_error
    assert "there is no item" in unknown.content[0].text
    assert wrong.is_error
