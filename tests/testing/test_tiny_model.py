from __future__ import annotations

import pytest

from gloss.config import Decoding
from gloss.decoding.generator import Generator
from gloss.decoding.open import open_generator
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.generators import GeneratorContract
from gloss.testing.tiny_model import write_tiny_llama


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Generator:
    folder = write_tiny_llama(tmp_path_factory.mktemp("tiny"), TITLES)
    return open_generator(folder, Decoding(beams=3), catalogue_of(TITLES), device="cpu")


class TestATinyModel(GeneratorContract):
    """The folder is one that every command takes; its generator keeps the contract."""

    @pytest.fixture
    def generator(self, tiny):
        return tiny

    @pytest.fixture
    def prompts(self, tiny):
        builder = tiny.prompt_builder()
        return [builder.build("u", (), TITLES[:2]), builder.build("v", (), TITLES[4:5])]
