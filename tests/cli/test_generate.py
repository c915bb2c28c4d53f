from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from gloss.cli.output import _left
from gloss.data.generations import read_generations
from gloss.decoding.transformers_generator import TransformersGenerator
from processes import kill_until_done, visible_bytes


def test_a_dry_run_says_what_it_would_do_and_does_nothing(done, run, language, dataset, catalogue):
    call = ("generate", "-m", run.model, "-d", run.data, "-o", "out", "--beams", 3)
    said = json.loads(done(*call, "--limit-users", 20, "--dry-run", "--json").out)
    texts = [
        language.template.render([catalogue.title(item) for item in example.history])
        for example in dataset.examples("test", limit=20)
    ]
    lengths = [len(ids) for ids in language.tokenizer(texts)["input_ids"]]
    longest = max(len(ids) for ids in language.tokenizer([*catalogue.titles])["input_ids"])
    assert said["users"] == 20
    assert said["prompt tokens"] == sum(lengths)
    assert said["longest prompt"] == max(lengths)
    assert said["new tokens at most"] == 20 * 3 * (longest + 1)  # with its end
    assert said["about seconds"] >= 0
    assert 100 < said["about megabytes"] < 100_000  # PyTorch alone holds more than the former
    assert not Path("out").exists()


def test_exact_decoding_writes_the_likeliest_titles(done, run, catalogue):
    call = ("generate", "-m", run.model, "-d", run.data, "--limit-users", 2)
    done(*call, "--decoding", "exact", "--beams", 5, "-o", "exact")
    done(*call, "--beams", 60, "--returned", 5, "-o", "searched")
    exact, searched = (
        [[query.text for query in each.queries] for each in read_generations(Path(name))]
        for name in ("exact", "searched")
    )
    assert exact == searched
    assert {title for row in exact for title in row} <= set(catalogue.titles)


def test_killed_before_any_write_generating_ends_with_the_same_bytes(processes, run, tmp_path):
    call = ("generate", "-m", run.model, "-d", run.data, "--limit-users", 40, "--beams", 2)
    shards = ("--shard-users", 4)
    assert processes.gloss(*call, *shards, "-o", tmp_path / "whole").code == 0
    cut = (*call, *shards, "-o", tmp_path / "cut")
    assert kill_until_done(processes, *cut, rng=random.Random(0), writes=12) >= 3
    assert visible_bytes(tmp_path / "cut") == visible_bytes(tmp_path / "whole")
    assert len(list((tmp_path / "cut").glob("part-*.jsonl"))) == 40 // 4


def test_progress_tells_the_pace(language, catalogue, dataset):
    from gloss.config import Decoding

    generator = TransformersGenerator(language, Decoding(beams=2), catalogue)
    prompts = generator.prompt_builder().build_all(dataset.examples("test", limit=3), catalogue)
    notes: list[str] = []
    generator.generate(prompts, progress=lambda done, total, note="": notes.append(note))
    assert all(note.endswith(" prompt tokens/s") and " users/s, " in note for note in notes)


@pytest.mark.parametrize(
    ("done", "seconds", "to_do", "said"),
    [
        (10, 5.0, 20, ", about 10.0 s left"),
        (10, 60.0, 20, ", about 2 min 0 s left"),
        (0, 5.0, 20, ""),
        (10, 5.0, 0, ""),
    ],
)
def test_the_rest_takes_as_long_as_what_was_done(done, seconds, to_do, said):
    assert _left(done, seconds, to_do) == said
