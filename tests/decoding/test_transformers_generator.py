from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gloss.config import Decoding, ScratchModel
from gloss.data.titles import clean_title
from gloss.decoding.batches import BatchedSearch
from gloss.decoding.beam_search import cache_argument
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.errors import ConfigError
from gloss.language.loading import LanguageModel
from gloss.language.scratch.llama import new_model
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.prompts import PAPER_TEMPLATE, TITLES_ONLY, Prompt
from gloss.testing.catalogues import catalogue_of
from gloss.testing.generators import GeneratorContract

HOSTILE = (
    "</s>",
    "<|endoftext|>",
    "<s> [INST] <pad> <unk>",
    "two\nlines\r\nand\x85a\u2028third",
    "\x1b[31mred\x1b[0m\x00",
    "🧸👩‍👩‍👧‍👦 emoji 🇨🇭",
    "שלום עולם ‏mixed‎ مرحبا",
    "e\u0301 is not \u00e9",
    "zero\u200bwidth\ufeff",
    "木の電車",
    "Title: Title: {title}",
    "### Next item:",
    "\ufffd \U0010ffff",
    "'\"\\ \\n %s {} $x_1$",
    "a",
    "a b",
    "a b c",
)


@pytest.fixture(scope="module")
def examples(dataset):
    return dataset.examples("test", limit=40)


@pytest.fixture(scope="module", params=["catalogue", "free"])
def trained(request, language, catalogue) -> TransformersGenerator:
    return TransformersGenerator(language, Decoding(mode=request.param, beams=5), catalogue)


class TestTransformersGenerator(GeneratorContract):
    @pytest.fixture
    def generator(self, trained):
        return trained

    @pytest.fixture
    def prompts(self, trained, examples, catalogue):
        return trained.prompt_builder().build_all(examples[:12], catalogue)


def test_no_title_outside_the_catalogue_is_written(language, catalogue, examples):
    for penalty in (0.0, 1.0):
        settings = Decoding(beams=12, length_penalty=penalty)
        generator = TransformersGenerator(language, settings, catalogue)
        prompts = generator.prompt_builder().build_all(examples, catalogue)
        for generation in generator.generate(prompts):
            texts = [query.text for query in generation.queries]
            assert set(texts) <= set(catalogue.titles)
            assert len(set(texts)) == 12


@pytest.mark.parametrize("mode", ["catalogue", "free"])
@pytest.mark.parametrize("budget", [1, 700, 5000])
def test_batches_keep_within_the_token_budget(language, catalogue, examples, mode, budget):
    settings = Decoding(mode=mode, beams=3, max_new_tokens=12, batch_tokens=budget)
    generator = TransformersGenerator(language, settings, catalogue)
    # The fast path has a test of its own; this is the one that serves every model.
    generator.search = BatchedSearch(
        language.model, generator.search.settings, generator.trie, entries=budget
    )
    prompts = generator.prompt_builder().build_all(examples, catalogue)
    held = []

    def note_down(_module, _arguments, named, _output):
        users = len(named["input_ids"])
        cache = named[cache_argument(language.model)]
        held.append((users, users * cache.get_seq_length()))

    hook = language.model.register_forward_hook(note_down, with_kwargs=True)
    bounded = generator.generate(prompts)
    hook.remove()
    assert all(entries <= budget or users == 1 for users, entries in held)
    assert (max(users for users, _ in held) > 1) == (budget > 1)
    unbounded = settings.model_copy(update={"batch_tokens": 10**6})
    fast = TransformersGenerator(language, unbounded, catalogue).generate(prompts)
    assert [[query.text for query in generation.queries] for generation in fast] == [
        [query.text for query in generation.queries] for generation in bounded
    ]


def test_prompts_leave_room_for_the_longest_answer(language, catalogue, dataset):
    items = [item.id for item in catalogue][:200]
    settings = Decoding(mode="catalogue", beams=2)
    generator = TransformersGenerator(language, settings, catalogue)
    prompt = generator.prompt_builder().build("u", items, [*map(catalogue.title, items)])
    tokens = len(language.tokenizer(prompt.text)["input_ids"])
    context = language.model.config.max_position_embeddings
    longest = max(len(language.tokenizer(title)["input_ids"]) for title in catalogue.titles)
    assert prompt.dropped > 0
    assert context - 40 < tokens + generator.steps <= context
    assert generator.steps == longest + 1


def test_catalogue_decoding_needs_a_catalogue(language):
    with pytest.raises(ConfigError, match="needs the catalogue"):
        TransformersGenerator(language, Decoding(mode="catalogue"))


def small(titles: tuple[str, ...], *, template=TITLES_ONLY, context=400) -> LanguageModel:
    """An untrained model whose tokenizer was trained on these titles."""
    tokenizer = train_tokenizer(titles, vocabulary=400)
    shape = ScratchModel(vocabulary=400, layers=1, width=16, heads=2, context=context)
    end = tokenizer.eos_token_id
    model = new_model(shape, vocabulary=len(tokenizer), end=end, dropout=0.0, seed=0)
    return LanguageModel(model.eval(), tokenizer, template)


@pytest.mark.parametrize("template", [TITLES_ONLY, PAPER_TEMPLATE])
def test_hostile_titles_are_written_as_they_are(template):
    titles = tuple(clean_title(title, "fair") for title in HOSTILE)
    language = small(titles, template=template)
    settings = Decoding(mode="catalogue", beams=len(titles) + 3)
    generator = TransformersGenerator(language, settings, catalogue_of(titles))
    prompt = generator.prompt_builder().build("u", (), titles[:3])
    (written,) = generator.generate([prompt])
    assert sorted(query.text for query in written.queries) == sorted(titles)


@pytest.mark.parametrize("title", [*HOSTILE, "x" * 10_000, "Ж🧸" * 3000])
def test_hostile_titles_come_back_out_of_the_tokenizer(title):
    cleaned = clean_title(title, "fair")
    tokenizer = train_tokenizer(["Red kite", "Blue ball"], vocabulary=300)
    ids = tokenizer(cleaned)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == cleaned
    assert tokenizer.eos_token_id not in ids


def test_special_tokens_of_other_models_are_text_in_titles():
    """A tokenizer with special tokens must not read them out of a title."""
    titles = ("</s>", "Kite </s> ball", "Kite")
    language = small(titles)
    language.tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})
    language.model.resize_token_embeddings(len(language.tokenizer))
    generator = TransformersGenerator(language, Decoding(beams=5), catalogue_of(titles))
    (written,) = generator.generate([generator.prompt_builder().build("u", (), titles)])
    assert sorted(query.text for query in written.queries) == sorted(titles)


def test_a_title_longer_than_the_context_does_not_stop_the_others():
    titles = ("Red kite", "Blue ball", "".join(chr(0x4E00 + n) for n in range(4000)))
    generator = TransformersGenerator(small(titles), Decoding(beams=5), catalogue_of(titles))
    prompt = generator.prompt_builder().build("u", (), titles[:2])
    (written,) = generator.generate([prompt])
    assert sorted(query.text for query in written.queries) == sorted(titles[:2])


def test_broken_utf8_that_a_model_writes_is_survived():
    language = small(("é",))
    settings = Decoding(mode="free", beams=40, max_new_tokens=3)
    (written,) = TransformersGenerator(language, settings).generate([Prompt("u", (), "\n")])
    for query in written.queries:
        query.text.encode("utf-8")
        assert "\n" not in query.text


def test_nothing_random_is_drawn(trained, examples, catalogue):
    prompts = trained.prompt_builder().build_all(examples[:5], catalogue)
    before = torch.random.get_rng_state()
    trained.generate(prompts)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_prompt_cut_on_the_left_keeps_its_latest_tokens(language, catalogue, examples):
    whole = TransformersGenerator(language, Decoding(mode="free"), catalogue)
    room = 20
    short = replace(language, context=room + whole.steps)
    cut = TransformersGenerator(short, Decoding(mode="free", cut="left"), catalogue)
    prompts = cut.prompt_builder().build_all(examples, catalogue)
    assert [prompt.dropped for prompt in prompts] == [0] * len(examples)
    for prompt in prompts:
        (all_tokens,) = whole._encode([prompt.text])
        (kept,) = cut._encode([prompt.text])
        assert kept == all_tokens[-room:]
    written = cut.generate(prompts[:3])
    assert [generation.user for generation in written] == [p.user for p in prompts[:3]]
