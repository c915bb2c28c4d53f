from __future__ import annotations

import csv
import gzip
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from gloss.artifacts import open_artifact
from gloss.data.dataset import Dataset
from gloss.data.generations import read_generations
from gloss.evaluation.evaluate import read_figures
from gloss.experiment import pipeline
from gloss.experiment.loading import load_experiment
from gloss.experiment.run_folder import OURS, RunFolder
from gloss.rankings.files import load_rankings
from processes import ENVIRONMENT

MAIN = [sys.executable, "-c", "from gloss.cli.main import main; main()"]


def figures(evaluation: Path):
    return read_figures(open_artifact(evaluation, "evaluation"))


def fingerprint(artifact: Path) -> str:
    return json.loads((artifact / "manifest.json").read_bytes())["fingerprint"]


def titles(generations: Path) -> list[list[str]]:
    """What was written for each user; the last decimals of its probability depend on the batch."""
    return [[query.text for query in each.queries] for each in read_generations(generations)]


def items(ranking: Path) -> list[list[str]]:
    return [[entry.item for entry in each.entries] for each in load_rankings(ranking)[1]]


@pytest.mark.parametrize("protocol", ["fair", "paper"])
def test_the_commands_one_by_one_do_what_a_run_does(done, tiny_config, tmp_path, protocol):
    """Down to the same fingerprints, from the purchases to the figures."""
    # `gloss generate` writes shards of the default size.
    overrides = [f"protocol={protocol}", "decoding.shard_users=2048"]
    pipeline.run(load_experiment(tiny_config, overrides), tmp_path / "run")
    run, told = RunFolder(tmp_path / "run"), ("--protocol", protocol)
    done("prepare", "shop", "--users", 60, "-o", "data")
    done("train", tiny_config, *overrides, "-d", "data", "-o", "model")
    done("generate", "-m", "model", "-d", "data", "--beams", 4, "-o", "generations")
    done("index", "-d", "data", "-o", "index", *told)
    done("rank", "-g", "generations", "-i", "index", "-o", "gloss", *told)
    done("baseline", "last-item", "-d", "data", "-i", "index", "-o", "last-item", *told)
    done("baseline", "popularity", "-d", "data", "-i", "index", "-o", "popularity", *told)
    for made in ("data", "model", "generations", "index"):
        assert fingerprint(Path(made)) == fingerprint(run.path / made), made
    for name in (OURS, "last-item", "popularity"):
        written = ("-g", "generations") if name == OURS else ()
        said = done("evaluate", "-r", name, "-d", "data", *written, *told, "--json").out
        assert json.loads(said) == figures(run.evaluation(name))
        assert fingerprint(Path(name)) == fingerprint(run.ranking(name))
        assert fingerprint(Path(f"{name}-evaluation")) == fingerprint(run.evaluation(name))


@pytest.mark.parametrize("protocol", ["fair", "paper"])
def test_a_baseline_makes_the_protocols_index_if_it_is_given_none(done, run, protocol):
    told = ("-d", run.data, "--protocol", protocol)
    done("index", *told, "-o", "index")
    done("baseline", "last-item", *told, "-i", "index", "-o", "given")
    done("baseline", "last-item", *told, "-o", "made")
    assert load_rankings(Path("given"))[1] == load_rankings(Path("made"))[1]


def test_a_few_users_alone_go_through_the_whole_chain(done, run, dataset):
    few = ("--limit-users", 7)
    everybody = dataset.examples("test")
    rows = [everybody.index(each) for each in dataset.examples("test", limit=7)]
    done("generate", "-m", run.model, "-d", run.data, "-o", "few", "--beams", 8, *few)
    assert titles(Path("few")) == [titles(run.generations)[row] for row in rows]
    done("rank", "-g", "few", "-i", run.index, "-o", "ranking")
    assert items(Path("ranking")) == [items(run.ranking(OURS))[row] for row in rows]
    done("baseline", "last-item", "-d", run.data, "-o", "last-item", *few)
    for made in ("ranking", "last-item"):
        said = done("evaluate", "-r", made, "-d", run.data, "--json").out
        assert json.loads(said)["overall"]["users"] == 7


def test_the_validation_split_goes_through_the_whole_chain(done, run):
    split = ("--split", "validation")
    done("generate", "-m", run.model, "-d", run.data, "-o", "written", "--beams", 2, *split)
    done("rank", "-g", "written", "-i", run.index, "-o", "ranking")
    said = done("evaluate", "-r", "ranking", "-d", run.data, "--json").out
    asked = len(Dataset.load(run.data).examples("validation"))
    assert json.loads(said)["overall"]["users"] == asked > 0


def test_a_model_may_write_freely(done, run):
    free = ("--decoding", "free", "--beams", 2, "--max-new-tokens", 5, "--limit-users", 3)
    done("generate", "-m", run.model, "-d", run.data, "-o", "written", *free)
    assert [len(queries) for queries in titles(Path("written"))] == [2, 2, 2]


@pytest.fixture
def research(run, tmp_path) -> Path:
    """The run's generations as the research repository writes them."""
    targets = {example.user: example.target for example in Dataset.load(run.data).examples("test")}
    entries = [
        {
            "reviewer_id": each.user,
            "asin": targets[each.user],
            "seen_asins": list(each.history),
            "generated_sequences": [f"Title: {query.text}\n" for query in each.queries],
        }
        for each in read_generations(run.generations)
    ]
    path = tmp_path / "generations.json"
    path.write_text(json.dumps(entries))
    return path


def test_the_research_repositorys_file_ends_with_the_figures_of_the_run(done, run, research):
    done("rank", "-g", research, "-i", run.index, "-o", "ranking")
    said = done("evaluate", "-r", "ranking", "-d", run.data, "-g", research, "--json").out
    assert json.loads(said) == figures(run.evaluation(OURS))


def test_one_user_a_line_ranks_like_the_list(done, run, research, tmp_path):
    entries = json.loads(research.read_bytes())
    lines = tmp_path / "per_user.jsonl"
    lines.write_text("".join(json.dumps({**e, "recall@5": 0.0}) + "\n" for e in entries))
    for name, path in (("list", research), ("lines", lines)):
        done("rank", "-g", path, "-i", run.index, "-o", name)
    assert load_rankings(Path("lines"))[1] == load_rankings(Path("list"))[1]


def test_the_research_repositorys_file_is_measured_as_the_paper_did(done, run, research):
    paper = ("--protocol", "paper")
    done("index", "-d", run.data, "-o", "index", *paper)
    done("rank", "-g", research, "-i", "index", "-o", "ranking", *paper)
    done("rank", "-g", run.generations, "-i", "index", "-o", "ours", *paper)
    assert load_rankings(Path("ranking"))[1] == load_rankings(Path("ours"))[1]
    measured = json.loads(done("evaluate", "-r", "ranking", "-d", run.data, *paper, "--json").out)
    assert measured["protocol"] == "paper"
    assert measured["overall"]["metrics"].keys() == {"recall@5", "ndcg@5", "mrr@5", "mrr"}


def test_what_was_written_is_looked_for_without_its_marker(done, run, dataset):
    example = dataset.examples("test", limit=1)[0]
    title = dataset.catalogue("fair").title(example.target)
    entry = {
        "reviewer_id": example.user,
        "asin": example.target,
        "seen_asins": list(example.history),
        "generated_sequences": [f"Title: {title}", "Title: ", "zzz"],
    }
    Path("research.json").write_text(json.dumps([entry]))
    call = ("rank", "-g", "research.json", "-i", run.index, "-o", "ranking", "--json")
    assert json.loads(done(*call).out)["queries that found nothing"] == 2
    said = done("evaluate", "-r", "ranking", "-d", run.data, "--json")
    assert json.loads(said.out)["overall"]["metrics"]["recall@1"]["mean"] == 1.0


def test_options_override_the_protocol(done, run):
    shorter = ("-k", 3, "--per-query", 2, "--fusion", "reciprocal-rank", "--keep-seen")
    done("rank", "-g", run.generations, "-i", run.index, "-o", "ranking", *shorter)
    made, lists = load_rankings(Path("ranking"))
    wanted = {"length": 3, "per_query": 2, "fusion": "reciprocal-rank", "exclude_seen": False}
    assert {name: made.config[name] for name in wanted} == wanted
    assert max(len(each.entries) for each in lists) == 3
    cut = ("--cutoff", 1, "--cutoff", 3, "--cold", 4, "--regular", 6)
    said = done("evaluate", "-r", "ranking", "-d", run.data, "--json", *cut)
    metrics = json.loads(said.out)["overall"]["metrics"]
    assert {"recall@1", "recall@3"} <= metrics.keys()
    assert "recall@5" not in metrics


OFFICE = ["Pencil", "Ruler", "Stapler", "Potter's clay", "Glue & tape", "Paper, 500 sheets"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_category_without_a_short_name_is_prepared(done, packed):
    reviews = [
        {"reviewerID": f"U{user}", "asin": f"B{(user + turn) % 6}", "unixReviewTime": 100 - turn}
        for user in range(6)
        for turn in range(5)
    ]
    entries = [{"asin": f"B{n}", "title": title} for n, title in enumerate(OFFICE)]
    contents = {
        "reviews_Office_Products_5.json": "".join(json.dumps(row) + "\n" for row in reviews),
        "meta_Office_Products.json": "".join(f"{row!r}\n" for row in entries),
    }
    for name, content in contents.items():
        if packed:
            Path(f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        else:
            Path(name).write_text(content)
    office = ("--category", "Office_Products", "--source", ".")
    said = done("prepare", "amazon", *office, "-o", "data", "--json").out
    assert json.loads(said)["users"] == 6
    data = Dataset.load(Path("data"))
    assert data.name == "Office_Products"
    assert list(data.catalogue("fair").titles) == OFFICE
    (first, *_) = data.examples("test")
    assert (first.user, first.history, first.target) == ("U0", ("B4", "B3", "B2", "B1"), "B0")


def test_tables_of_ones_own_are_prepared(done):
    Path("log.csv").write_text("who,what\n" + "".join(f"ann,{n}\n" for n in range(4)))
    Path("items.tsv").write_text("id\tname\n" + "".join(f"{n}\tKite {n}\n" for n in range(5)))
    columns = ("--user", "who", "--item", "what", "--time", "", "--title", "name")
    files = ("--interactions", "log.csv", "--items", "items.tsv", "--item-in-items", "id")
    done("prepare", "table", *files, *columns, "-o", "data")
    (asked,) = Dataset.load(Path("data")).examples("test")
    assert (asked.user, asked.history, asked.target) == ("ann", ("0", "1", "2"), "3")


@pytest.mark.parametrize(
    "command",
    [
        ("prepare", "shop", "--users", "30", "-o", "out"),
        ("index", "-d", "{data}", "-o", "out"),
        ("rank", "-g", "{generations}", "-i", "{index}", "-o", "out"),
        ("baseline", "last-item", "-d", "{data}", "-o", "out"),
        ("evaluate", "-r", "{ranking}", "-d", "{data}", "-o", "out"),
        ("generate", "-m", "{model}", "-d", "{data}", "--limit-users", "3", "-o", "out"),
        ("bundle", "{run}", "-o", "out"),
        ("recommend", "-b", "{bundle}", "--history", "Kite"),
        ("doctor",),
    ],
    ids=lambda command: command[0],
)
def test_json_is_all_that_machines_read(done, run, bundled, command):
    places = {
        "bundle": bundled,
        "run": run.path,
        "data": run.data,
        "model": run.model,
        "generations": run.generations,
        "index": run.index,
        "ranking": run.ranking(OURS),
    }
    assert json.loads(done(*(word.format(**places) for word in command), "--json").out)


def test_people_read_the_figures_with_their_intervals(done, run):
    evaluate = ("evaluate", "-r", run.ranking(OURS), "-d", run.data, "-o", "figures")
    overall = json.loads(done(*evaluate, "--json").out)["overall"]["metrics"]["ndcg@10"]
    said = done(*evaluate).out
    assert f"{overall['mean']:.4f}" in said
    assert f"{overall['low']:.4f}" in said
    assert "cold" in said


def test_a_dry_run_prints_settings_that_can_be_run_and_does_nothing(done, run):
    said = done("run", run.config, "training.epochs=3", "--dry-run")
    assert "epochs: 3" in said.out
    Path("again.yaml").write_text(said.out)
    assert done("run", "again.yaml", "--dry-run").out == said.out
    assert [path.name for path in Path.cwd().iterdir()] == ["again.yaml"]


def test_a_dry_run_completes_the_settings_from_the_data_and_says_what_training_takes(done):
    Path("a.yaml").write_text("name: a\ndata: {source: shop, users: 50}\n")
    said = done("run", "a.yaml", "--dry-run")
    settings = yaml.safe_load(said.out)
    assert settings["training"]["batch_tokens"] == 1024
    assert settings["ranking"]["exclude_seen"] is True
    assert re.search(r"\d steps, [\d,]+ tokens, [\d,]+ parameters; on this machine about", said.err)


def test_a_dry_run_without_the_data_prints_the_settings_as_they_are(done):
    Path("a.yaml").write_text("name: a\ndata: {source: table, interactions: nowhere.csv}\n")
    said = done("run", "a.yaml", "--dry-run")
    assert yaml.safe_load(said.out)["ranking"]["exclude_seen"] is None
    assert "which were not read: nowhere.csv does not exist" in said.err


def test_names_that_look_like_markup_are_printed_as_they_are(done, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = "[bold]out [/b]"
    for call in (
        ("index", "-d", run.data, "-o", f"{out} 1"),
        ("prepare", "shop", "--users", 30, "-o", f"{out} 2"),
        ("generate", "-m", run.model, "-d", run.data, "--limit-users", 2, "-o", f"{out} 3"),
        ("baseline", "popularity", "-d", run.data, "-o", f"{out} 4"),
        ("evaluate", "-r", f"{out} 4", "-d", run.data),
        ("report", run.path, "-o", f"{out}.html"),
    ):
        assert out in done(*call).out, call


def test_a_history_that_looks_like_markup_is_a_history(done, bundled):
    done("recommend", "-b", bundled, "--history", "[red]Kite[/blue]", "--history", "[/]")


def test_recommendations_are_for_people_or_for_machines(done, bundled, catalogue, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    bought = ("--history", catalogue[0].title, "--history", catalogue[5].title)
    call = ("recommend", "-b", bundled, *bought, "-k", 3)
    found = json.loads(done(*call, "--json").out)["items"]
    assert len(found) == 3
    table = done(*call).out
    for each in found:
        assert each["title"] == catalogue.title(each["item"])
        parts = {part for line in table.splitlines() for part in map(str.strip, line.split("  "))}
        assert {each["title"], each["item"]} <= parts
    assert "by the language model" in table
    typed = f"{catalogue[0].title} xyzzy"
    said = done("recommend", "-b", bundled, "--history", typed).out
    assert (
        f"{typed!r} is not a title of the catalogue: read by the language model only; "
        f"did you mean {catalogue[0].title!r}?"
    ) in said


def test_many_histories_are_served_at_once_as_each_alone(done, bundled, catalogue):
    titles = [item.title for item in catalogue.items[:6]]
    histories = [titles[:2], [], ["Zeppelin\u2028Kit", *titles[2:]]]
    lines = [json.dumps(each, ensure_ascii=False) for each in histories]
    Path("histories.jsonl").write_text("\n\n".join(lines), "utf-8")
    call = ("recommend", "-b", bundled, "-k", 4, "--histories", "histories.jsonl")
    lists = json.loads(done(*call, "--json").out)
    assert [len(found["items"]) for found in lists] == [4] * 3
    one = [word for title in histories[0] for word in ("--history", title)]
    alone = json.loads(done("recommend", "-b", bundled, "-k", 4, *one, "--json").out)
    shown, expected = ([e["item"] for e in each["items"]] for each in (lists[0], alone))
    assert shown == expected
    said = done(*call).out
    assert all(f"history {number}" in said for number in (1, 2, 3))


def test_users_of_a_data_set_are_answered_in_a_table(done, gloss, run, bundled, catalogue):
    history, *_ = Dataset.load(run.data).histories()
    titles = [catalogue.title(item) for item in history.items]
    call = ("recommend", "-b", bundled, "-d", run.data, "--user", history.user, "-k", 4)
    one = [word for title in titles for word in ("--history", title)]
    alone = json.loads(done("recommend", "-b", bundled, "-k", 4, *one, "--json").out)["items"]
    for name, read in (
        ("out.csv", pl.read_csv),
        ("out.parquet", pl.read_parquet),
        ("out.jsonl", pl.read_ndjson),
    ):
        done(*call, "-o", name)
        table = read(name)
        assert table["item"].to_list() == [each["item"] for each in alone]
        assert table["title"].to_list() == [each["title"] for each in alone]
        assert set(table["user"]) == {history.user}
        assert table["rank"].to_list() == [1, 2, 3, 4]
    assert "ends in none of .csv, .parquet, .jsonl" in gloss(*call, "-o", "out.xls").error
    assert f"{run.data} has no user 'nobody'" in gloss(*call, "--user", "nobody").error


def test_rules_are_kept_on_the_command_line(done, gloss, bundled, catalogue):
    call = ("recommend", "-b", bundled, "-k", 5, "--history", catalogue[0].title)
    first, second, *_ = json.loads(done(*call, "--json").out)["items"]
    left = json.loads(done(*call, "--exclude", first["item"], "--json").out)["items"]
    assert first["item"] not in [each["item"] for each in left]
    only = ("--only", second["item"], "--only", catalogue[9].id)
    shown = json.loads(done(*call, *only, "--json").out)["items"]
    assert {each["item"] for each in shown} == {second["item"], catalogue[9].id}
    some = json.loads(done(*call, "--where", "title LIKE '%a%'", "--json").out)["items"]
    assert all("a" in each["title"] for each in some)
    assert len(some) == 5
    wished = json.loads(done(*call[:5], "--wish", catalogue[7].title, "--json").out)
    assert (wished["way"], wished["items"][0]["title"]) == ("wish", catalogue[7].title)
    wrong = gloss(*call, "--where", "prise < 3").error
    assert wrong.startswith("'prise < 3': the catalogue has no column 'prise'")
    assert "'x' is not --at-most COLUMN=N" in gloss(*call, "--at-most", "x").error


def test_a_report_of_two_runs_names_both(done, run, tiny_config):
    second = done("run", tiny_config, "name=second", "data.users=300", "-o", "second", "--json")
    assert "GLoSS + BM25" in json.loads(second.out)
    done("report", run.path, "second", "-o", "both.html")
    page = Path("both.html").read_text("utf-8")
    assert "GLoSS, tiny" in page
    assert "GLoSS, second" in page


def test_runs_on_different_data_share_a_page(done, run, tiny_config):
    done("run", tiny_config, "-o", "second")
    told = done("report", run.path, "second", "-o", "both.html", "--tables", "tables", "--json")
    page = Path("both.html").read_text("utf-8")
    assert page.count('class="part"') == 2
    assert {Path(path).name for path in json.loads(told.out)["tables"]} >= {
        "overall.csv",
        "overall.tex",
        "segments.csv",
        "beams.tex",
    }
    with Path("tables/overall.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    recall = figures(run.evaluation(OURS))["overall"]["metrics"]["recall@5"]
    assert [row["model"] for row in rows if row["kind"] == "ours"] == ["GLoSS, tiny"] * 2
    assert float(rows[0]["Recall@5"]) == pytest.approx(recall["mean"], abs=1e-6)
    assert float(rows[0]["Recall@5 low"]) == pytest.approx(recall["low"], abs=1e-6)


@pytest.fixture
def long_config(tmp_path) -> Path:
    path = tmp_path / "long.yaml"
    path.write_text("name: a\ndata: {source: shop, users: 500}\ntraining: {epochs: 1000}\n")
    return path


def test_interrupted_it_ends_quietly_and_can_be_resumed(tmp_path, long_config):
    command = [*MAIN, "run", str(long_config), "-o", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        while not (tmp_path / "run" / ".model.partial").exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in said
    assert (tmp_path / "run" / ".model.partial").is_dir()


def test_readers_that_go_away_are_no_trouble():
    with subprocess.Popen(
        [*MAIN, "doctor", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said
