"""A Ray cluster of two nodes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from ray_nodes import Node, cluster


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, list[Node]]]:
    """The address of a cluster of two nodes, and the nodes; the second one may be killed by the
    last test that needs it."""
    if not find_spec("ray"):
        pytest.skip("needs the extra scale")
    with cluster(2) as started:
        yield started


@pytest.fixture
def address(nodes) -> str:
    return nodes[0]
