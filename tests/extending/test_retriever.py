"""The retriever of docs/extending.md: it keeps the contract; a file and two lines are enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from extending.trigrams import SPEC, Trigrams, TrigramSettings
from gloss.config import ShopData
from gloss.data.catalogue import Item
from gloss.errors import ArtifactError
from gloss.evaluation.protocol import FAIR
from gloss.experiment import stages
from gloss.experiment.settings import index_section
from gloss.retrieval import specs
from gloss.retrieval.changes import add_items
from gloss.retrieval.index import load_index
from gloss.retrieval.specs import RETRIEVERS
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.retrievers import RetrieverContract

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return stages.prepare(ShopData(users=40), tmp_path_factory.mktemp("shop") / "data").path


@pytest.fixture
def added(monkeypatch) -> None:
    """The one line in the tuple of retrievers."""
    monkeypatch.setattr(specs, "RETRIEVERS", (*RETRIEVERS, SPEC))


class TestTrigrams(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        return Trigrams(catalogue_of(TITLES), TrigramSettings(exact_first=False))


def test_the_page_shows_this_code_and_these_lines():
    page = PAGE.read_text("utf-8")
    assert f"```python\n{(HERE / 'trigrams.py').read_text('utf-8')}```" in page
    assert "import bm25, trigrams\n" in page
    assert "trigrams.SPEC,\n" in page


@pytest.mark.usefixtures("added")
def test_one_line_makes_it_a_retriever_like_any_other(shop, tmp_path):
    settings = FAIR.index_settings("trigrams", above=0.2)
    made = stages.index(shop, tmp_path / "index", settings=settings)
    assert made.config == {
        **{"retriever": "trigrams", "title_style": "fair", "exact_first": True},
        "popular_first": True,
        "above": 0.2,
    }
    new = Item("n1", "Quantum flux capacitor")
    add_items(tmp_path / "index", [new], tmp_path / "index")
    index = load_index(tmp_path / "index")
    assert index.settings == settings
    texts = ["kwantum flux capasitor", index.catalogue[7].title]
    found = index.retriever.search(texts, 1)
    assert [hit.item for hits in found for hit in hits] == ["n1", index.catalogue[7].id]
    assert index.title_vectors is None


@pytest.mark.usefixtures("added")
def test_the_command_line_knows_it(shop, tmp_path, monkeypatch, capsys):
    from gloss.cli.main import main

    call = ["gloss", "index", "-d", shop, "--retriever", "trigrams", "-o", tmp_path / "i"]
    monkeypatch.setattr("sys.argv", [*map(str, call)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert load_index(tmp_path / "i").settings == TrigramSettings()


def test_the_configuration_knows_its_settings():
    section = index_section((*RETRIEVERS, SPEC))
    chosen = section(retriever="trigrams", above=0.4)
    assert chosen.chosen() == {"above": 0.4}
    with pytest.raises(ValueError, match="less than 1"):
        section(retriever="trigrams", above=1.5)
    with pytest.raises(ValueError, match="'bm25', 'dense', 'hybrid' or 'milvus'"):
        index_section(RETRIEVERS)(retriever="trigrams")


def test_an_index_of_a_retriever_that_is_gone_is_refused(shop, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(specs, "RETRIEVERS", (*RETRIEVERS, SPEC))
        stages.index(shop, tmp_path / "index", settings=TrigramSettings())
    with pytest.raises(ArtifactError, match=r"unknown retriever 'trigrams'.*make it again"):
        load_index(tmp_path / "index")
