"""What was bought after which list, by small logs that are counted by hand."""

from __future__ import annotations

import json

import pytest

from gloss.cli.main import main
from gloss.errors import ConfigError, InputError
from gloss.serving.conversions import compare_log
from gloss.serving.state.events import Event, EventLog
from gloss.serving.state.exposures import Exposure, ExposureLog, UserLog
from gloss.serving.state.store import open_database

DAY = 24 * 60 * 60 * 1000
A, B = "a", "b"


def shown(name: str, *items: str, at: int = 0, request: str = "", user: str = "u") -> Exposure:
    return Exposure(user, name, f"of {name}", items, request, at)


def unshown(name: str, *items: str, at: int = 0, request: str = "") -> Exposure:
    return Exposure("u", name, f"of {name}", items, request, at, is_shown=False)


def log(*exposures: Exposure, bought: tuple[tuple[str, int], ...] = ()) -> UserLog:
    return UserLog("u", exposures, bought)


def values(logs: list[UserLog], **how: object) -> dict[str, tuple[float, float]]:
    made = compare_log(logs, resamples=99, **how)
    return {each.metric: (each.first, each.second) for each in made.comparisons}


def test_conversion_counts_users_and_hits_count_lists():
    logs = [
        log(shown(A, "x", "y"), shown(A, "z", at=DAY), bought=(("y", DAY),)),  # 1 of 2 lists
        log(shown(A, "x"), bought=(("z", DAY),)),  # another item
        log(shown(B, "x", "y"), bought=(("x", 5), ("y", 6))),  # once, however much was bought
        log(shown(B, "x")),
        log(shown(B, "x")),
    ]
    assert values(logs) == {"conversion": (1 / 2, 1 / 3), "hits@10": (1 / 4, 1 / 3)}


def test_only_what_is_bought_within_the_window_and_after_the_list_follows_it():
    def bought(at: int) -> UserLog:
        return log(shown(A, "x", at=DAY), bought=(("x", at),))

    other = log(shown(B, "x"))
    times = [DAY - 1, DAY, 3 * DAY, 3 * DAY + 1]
    followed = [values([bought(at), other], days=2)["conversion"][0] for at in times]
    assert followed == [0, 1, 1, 0]


def test_only_the_first_items_count_for_hits_at_a_cutoff():
    logs = [log(shown(A, "x", "y"), bought=(("y", 1),)), log(shown(B, "x"))]
    assert values(logs, metrics=["hits@1", "hits@2"]) == {"hits@1": (0, 0), "hits@2": (1, 0)}


def test_who_was_shown_lists_of_both_is_left_out():
    both = log(shown(A, "x"), shown(B, "x"), bought=(("x", 1),))
    made = compare_log([both, log(shown(A, "x")), log(shown(B, "x"))], resamples=99)
    assert (made.in_both, made.lists, made.is_shadow) == (1, (1, 1), False)
    assert [each.users for each in made.comparisons] == [(1, 1)] * 2


def test_a_shadows_lists_are_paired_by_their_request():
    logs = [
        log(
            shown(A, "x", request="1"),
            unshown(B, "y", request="1"),
            shown(A, "y", request="2"),  # B was too busy
            bought=(("y", 1),),
        ),
        log(shown(A, "x", request="3"), unshown(B, "x", request="3"), bought=(("x", 1),)),
        log(shown(A, "x", request="4")),
    ]
    made = compare_log(logs, resamples=99)
    assert (made.is_shadow, made.lists, made.in_both) == (True, (2, 2), 0)
    (conversion, _) = made.comparisons
    assert (conversion.users, conversion.first, conversion.second) == ((2, 2), 1 / 2, 1)


def test_a_real_difference_is_found_and_none_is_not():
    def group(name: str, users: int, buyers: int) -> list[UserLog]:
        return [
            log(shown(name, "x"), bought=(("x", 1),) if number < buyers else ())
            for number in range(users)
        ]

    (better, _) = compare_log(group(A, 400, 80) + group(B, 400, 40)).comparisons
    assert (better.difference, better.p_value < 0.001, better.low > 0) == (0.1, True, True)
    (level, _) = compare_log(group(A, 400, 40) + group(B, 400, 41)).comparisons
    assert level.p_value > 0.5
    assert level.low < 0 < level.high


@pytest.mark.parametrize(
    ("names", "metrics", "said"),
    [
        (["c", A], ["conversion"], "the log has no recommender 'c'"),
        ([A], ["conversion"], "name two"),
        ([], ["recall@5"], "conversion and hits@k, not 'recall@5'"),
        ([], ["hits@0"], "conversion and hits@k"),
    ],
)
def test_what_cannot_be_compared_is_said(names, metrics, said):
    logs = [log(shown(A, "x")), log(shown(B, "x"))]
    with pytest.raises((ConfigError, InputError), match=said):
        compare_log(logs, names, metrics=metrics)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_command_reads_the_state(database, tmp_path, request, monkeypatch, capsys):
    if database == "sqlite":
        state = str(tmp_path / "state.db")
    else:
        state = request.getfixturevalue("postgresql_url")
    engine = open_database(state)
    names = f"{database} a", f"{database} b"
    for number, name in enumerate([names[0]] * 3 + [names[1]] * 2):
        user = f"{database} {number}"
        ExposureLog(engine).add(shown(name, "x", at=number, user=user))
        if number in (0, 4):
            EventLog(engine).add([Event(f"bought {user}", user, "x", 100)])
    engine.dispose()
    call = ["gloss", "compare", *names, "--log", state, "--resamples", "99"]
    monkeypatch.setattr("sys.argv", [*call, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["names"], made["lists"]) == (list(names), [3, 2])
    assert [each["first"] for each in made["comparisons"]] == pytest.approx([1 / 3] * 2)
    assert [each["second"] for each in made["comparisons"]] == [1 / 2] * 2
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    assert f"A  {names[0]}: 3 users, 3 lists" in said
    assert "conversion: A 0.3333, B 0.5000; A - B -0.1667" in said


def test_a_state_that_is_not_there_is_not_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gloss", "compare", "--log", str(tmp_path / "no.db")])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 1
    assert "there is no state" in capsys.readouterr().err
    assert not (tmp_path / "no.db").exists()
