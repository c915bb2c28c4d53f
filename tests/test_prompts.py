from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import Example
from gloss.errors import ConfigError
from gloss.prompts import PAPER_TEMPLATE, TITLES_ONLY, PromptBuilder, PromptTemplate

PLAIN = PromptTemplate(header="Bought:\n", item="- {title}\n", footer="Next:", answer="{title}")
TITLES = st.text(min_size=1).map(lambda text: " ".join(text.split())).filter(bool)


def builder(most: int, template: PromptTemplate = PLAIN) -> PromptBuilder:
    """Counts a letter as a token."""
    return PromptBuilder(template, count_tokens=len, max_tokens=most)


def items(titles: list[str]) -> list[str]:
    return [f"b{place}" for place in range(len(titles))]


def test_the_papers_prompt_is_the_papers():
    assert PAPER_TEMPLATE.render(["Kite", "Ball"]) == (
        "Below is a customer's purchase history on Amazon, listed in chronological order "
        "(earliest to latest). \nEach item is represented by the following format: "
        "Title: <item title> \nBased on this history, predict **only one** item the customer is "
        "most likely to purchase next in the same format.\n\n### Purchase history:\n"
        "Title: Kite\nTitle: Ball\n\n### Next item:\n"
    )
    assert PAPER_TEMPLATE.render_answer("Kite") == "Title: Kite"


@pytest.mark.parametrize("template", [PLAIN, PAPER_TEMPLATE, TITLES_ONLY])
@given(TITLES)
def test_the_title_comes_back_out_of_the_answer(template, title):
    assert template.title_of(template.render_answer(title)) == title.strip()


@pytest.mark.parametrize("title", ["Title: A Novel", "{title}", "a {title} b", "Title:"])
def test_a_title_that_looks_like_the_template_stays_a_title(title):
    assert PAPER_TEMPLATE.title_of(PAPER_TEMPLATE.render_answer(title)) == title
    assert PLAIN.render([title]) == f"Bought:\n- {title}\nNext:"


def test_an_answer_without_the_marker_is_the_title():
    assert PAPER_TEMPLATE.title_of(" Kite\n") == "Kite"
    assert PAPER_TEMPLATE.title_of("Title:") == ""


def test_a_history_that_fits_is_whole():
    prompt = builder(100).build("u", items(["Kite", "Ball"]), ["Kite", "Ball"])
    assert prompt.text == "Bought:\n- Kite\n- Ball\nNext:"
    assert (prompt.user, prompt.history, prompt.dropped) == ("u", ("b0", "b1"), 0)


def test_the_oldest_items_are_dropped_whole_and_counted():
    frame, kite, ball = len("Bought:\nNext:"), len("- Kite\n"), len("- Ball\n")
    fits = builder(frame + kite + ball)
    assert fits.build("u", items(["Tea"] * 3), ["Tea", "Kite", "Ball"]).dropped == 1
    short = builder(frame + kite + ball - 1).build("u", items(["Tea"] * 3), ["Tea", "Kite", "Ball"])
    assert short.text == "Bought:\n- Ball\nNext:"
    assert short.dropped == 2
    assert len(short.history) == 3


@given(st.lists(TITLES, min_size=1, max_size=8), st.integers(len("Bought:\nNext:"), 120))
def test_a_prompt_is_the_longest_end_of_the_titles_that_fit_alone(titles, most):
    alone = [title for title in titles if len(PLAIN.render([title])) <= most]
    whole = [PLAIN.render(alone[dropped:]) for dropped in range(len(alone) + 1)]
    prompt = builder(most).build("u", items(titles), titles)
    assert prompt.text == next(text for text in whole if len(text) <= most)
    assert prompt.dropped == len(titles) - len(alone) + whole.index(prompt.text)


def test_a_title_that_is_too_long_alone_stops_nobody():
    prompt = builder(30).build("u", items("abc"), ["Kite", "x" * 100, "Ball"])
    assert prompt.text == "Bought:\n- Kite\n- Ball\nNext:"
    assert prompt.dropped == 1
    assert builder(30).build("u", items("a"), ["x" * 100]).text == "Bought:\nNext:"


def test_a_context_that_holds_no_title_of_anybody_is_an_error():
    catalogue = Catalogue([Item("b0", "Kite"), Item("b1", "x" * 100)])
    examples = [Example("v", ("b0",), "b1"), Example("u", ("b1",), "b0")]
    assert [prompt.dropped for prompt in builder(30).build_all(examples, catalogue)] == [0, 1]
    with pytest.raises(ConfigError, match="take a model with a larger one"):
        builder(14).build_all(examples, catalogue)


def test_no_history_is_the_instruction_alone():
    assert builder(100).build("u", (), ()).text == "Bought:\nNext:"


def test_an_instruction_that_does_not_fit_is_an_error_also_without_a_history():
    with pytest.raises(ConfigError, match="cannot hold the instruction"):
        builder(3).build("u", (), ())


def test_one_prompt_an_example_in_their_order():
    catalogue = Catalogue([Item("b0", "Kite"), Item("b1", "Ball")])
    examples = [Example("v", ("b1", "b1"), "b0"), Example("u", ("b0",), "b1")]
    made = builder(100).build_all(examples, catalogue)
    assert [prompt.user for prompt in made] == ["v", "u"]
    assert made[0].text == "Bought:\n- Ball\n- Ball\nNext:"


@pytest.mark.parametrize("text", ["", "{titel}", "{title} and {title}"])
@pytest.mark.parametrize("field", ["item", "answer"])
def test_a_template_without_one_place_for_the_title_is_an_error(field, text):
    with pytest.raises(ConfigError, match=f"the template's {field} must hold {{title}} once"):
        PromptTemplate(**{**PLAIN.to_json(), field: text})


def test_a_template_survives_json():
    assert PromptTemplate(**PAPER_TEMPLATE.to_json()) == PAPER_TEMPLATE


# A wish

WISHING = PromptTemplate("Bought:", "{title};", "Next:", "{title}", "Wanted:{wish};")


def test_a_wish_stands_behind_the_purchases():
    builder = PromptBuilder(WISHING, count_tokens=len, max_tokens=60)
    prompt = builder.build("u", ["a"], ["Kite"], wish="wind")
    assert prompt.text == "Bought:Kite;Wanted:wind;Next:"
    assert builder.build("u", ["a"], ["Kite"]).text == "Bought:Kite;Next:"
    assert builder.build("u", [], [], wish="wind").text == "Bought:Wanted:wind;Next:"


def test_a_wish_takes_the_room_of_the_oldest_purchases_and_never_that_of_the_instruction():
    wish_tokens = len("Wanted:wind;")
    room = len("Bought:") + len("Ball;") + wish_tokens + len("Next:")
    builder = PromptBuilder(WISHING, count_tokens=len, max_tokens=room)
    prompt = builder.build("u", ["a", "b"], ["Kite", "Ball"], wish="wind")
    assert (prompt.text, prompt.dropped) == ("Bought:Ball;Wanted:wind;Next:", 1)
    too_long = builder.build("u", ["a"], ["Kite"], wish="w" * room)
    assert too_long.text == "Bought:Kite;Next:"


def test_a_model_that_reads_titles_alone_gets_no_wish():
    builder = PromptBuilder(TITLES_ONLY, count_tokens=len, max_tokens=60)
    assert builder.build("u", ["a"], ["Kite"], wish="wind").text == "\nKite\n"
    assert "wish" not in TITLES_ONLY.to_json()


def test_without_a_wish_the_published_prompt_is_as_it_was_published():
    without = replace(PAPER_TEMPLATE, wish=None)
    assert PAPER_TEMPLATE.render(["Kite"]) == without.render(["Kite"])
    assert "\n### What the customer is looking for:\nwind\n\n### Next item:\n" in (
        PAPER_TEMPLATE.render(["Kite"], wish="wind")
    )


def test_a_template_must_have_a_place_for_the_wish():
    with pytest.raises(ConfigError, match=r"wish must hold \{wish\} once"):
        replace(WISHING, wish="Wanted:")
