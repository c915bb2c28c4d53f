"""What we write is read by ranx and by ir_measures, with our order and our figures."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pytest

from gloss.data.histories import Example
from gloss.errors import InputError
from gloss.evaluation.evaluate import evaluate
from gloss.evaluation.trec import QRELS, RUN, qrels_lines, run_lines
from gloss.rankings.ranking import RankedItem, Ranking

CUTOFFS = (1, 5, 10)


def drawn(users: int = 60) -> tuple[list[Ranking], list[Example]]:
    """RankingTable of 0 to 12 items, all of one score: only their order says which is first."""
    rng = np.random.default_rng(3)
    lists, examples = [], []
    for number in range(users):
        items = rng.permutation(40)[: rng.integers(0, 13)]
        entries = tuple(RankedItem(f"item{item}", 0.5) for item in items)
        lists.append(Ranking(f"user{number}", entries))
        examples.append(Example(f"user{number}", (), f"item{rng.integers(0, 14)}"))
    return lists, examples


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trec")
    lists, examples = drawn()
    (folder / RUN).write_text("\n".join(run_lines(lists, tag="ours")) + "\n")
    (folder / QRELS).write_text("\n".join(qrels_lines(examples)) + "\n")
    return folder


@pytest.fixture(scope="module")
def ours() -> dict[str, float]:
    lists, examples = drawn()
    assert any(not ranking.entries for ranking in lists)
    return evaluate(lists, examples, CUTOFFS, protocol="fair").means()


def test_ir_measures_finds_our_figures(written, ours):
    import ir_measures
    from ir_measures import RR, R, nDCG

    measures = {
        "mrr": RR,
        **{f"recall@{k}": R @ k for k in CUTOFFS},
        **{f"ndcg@{k}": nDCG @ k for k in CUTOFFS},
    }
    found = ir_measures.calc_aggregate(
        measures.values(),
        list(ir_measures.read_trec_qrels(str(written / QRELS))),
        list(ir_measures.read_trec_run(str(written / RUN))),
    )
    for name, measure in measures.items():
        assert found[measure] == pytest.approx(ours[name], abs=1e-6), name


def test_ranx_finds_our_figures(monkeypatch, written, ours):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling ranx takes half a minute
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ranx warns at import
        from ranx import Qrels, Run
        from ranx import evaluate as ranx_evaluate

        run = Run.from_file(str(written / RUN), kind="trec")
        qrels = Qrels.from_file(str(written / QRELS), kind="trec")
        found = ranx_evaluate(qrels, run, list(ours), make_comparable=True)
    for name, mean in ours.items():
        assert found[name] == pytest.approx(mean, abs=1e-6), name


def test_scores_fall_by_one_from_the_length_of_the_longest_list():
    lists = [Ranking("u", (RankedItem("a", 0.1), RankedItem("b", 0.1))), Ranking("v", ())]
    assert list(run_lines(lists, tag="t")) == ["u Q0 a 1 2 t", "u Q0 b 2 1 t"]
    assert list(qrels_lines([Example("u", ("x",), "b")])) == ["u 0 b 1"]


@pytest.mark.parametrize("name", ["a b", "", " a", "a\u2028b"])
def test_what_the_format_cannot_hold_is_refused(name):
    with pytest.raises(InputError, match="TREC's formats cannot hold it"):
        list(run_lines([Ranking("u", (RankedItem(name, 1.0),))], tag="t"))
    with pytest.raises(InputError, match="TREC's formats cannot hold it"):
        list(qrels_lines([Example(name, (), "a")]))
