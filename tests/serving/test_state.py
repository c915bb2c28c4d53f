"""The state: the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError, InputError
from gloss.serving.state.events import Event, EventLog
from gloss.serving.state.exposures import Exposure, ExposureLog, UserLog
from gloss.serving.state.items import ItemChange, ItemChanges
from gloss.serving.state.store import open_database
from gloss.serving.state.tables import EVENTS, EXPOSURES, ITEMS, METADATA


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def address(request, tmp_path_factory):
    if request.param == "sqlite":
        return str(tmp_path_factory.mktemp("state") / "state.db")
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def engine(address):
    """The database, empty."""
    engine = open_database(address)
    with engine.begin() as connection:
        connection.execute(EVENTS.delete())
        connection.execute(ITEMS.delete())
        connection.execute(EXPOSURES.delete())
    yield engine
    engine.dispose()


def event(number: int, user: str = "u", at: int = 0) -> Event:
    return Event(f"e{number}", user, f"i{number}", at)


def test_an_event_is_counted_once_however_often_it_is_sent(engine):
    log = EventLog(engine)
    assert log.add([event(1), event(2)]) == 2
    assert log.add([event(2), event(3), event(3)]) == 1
    assert [each.id for each in log.of_user("u")] == ["e1", "e2", "e3"]


def test_events_are_in_the_order_of_their_time_then_of_their_coming(engine):
    log = EventLog(engine)
    log.add([event(1, at=5), event(2, at=-1), event(3, at=5), event(4, user="v")])
    assert [each.id for each in log.of_user("u")] == ["e2", "e1", "e3"]
    assert [each.id for each in log.of_user("u", latest=2)] == ["e1", "e3"]


def test_one_person_is_forgotten_and_no_other(engine):
    log = EventLog(engine)
    log.add([event(1), event(2), event(3, user="v")])
    assert log.forget("u") == 2
    assert (log.of_user("u"), log.of_user("v")) == ([], [event(3, user="v")])


def exposure(user: str, at: int, name: str = "today", *, is_shown: bool = True) -> Exposure:
    return Exposure(user, name, f"of {name}", ("i2", "i1"), f"r{at}", at, is_shown=is_shown)


def test_lists_are_kept_in_the_order_of_their_time_with_what_was_bought(engine):
    log, events = ExposureLog(engine), EventLog(engine)
    kept = [exposure("u", 7), exposure("v", 6, "new", is_shown=False), exposure("u", 5)]
    for each in kept:
        log.add(each)
    events.add([event(1, at=9), event(2, at=8), event(3, user="nobody")])
    assert log.of_users(["u"]) == [kept[2], kept[0]]
    assert sorted(log.users(), key=lambda of_user: of_user.user) == [
        UserLog("u", (kept[2], kept[0]), (("i2", 8), ("i1", 9))),
        UserLog("v", (kept[1],), ()),
    ]


def test_a_persons_lists_are_forgotten_and_no_others(engine):
    log = ExposureLog(engine)
    log.add(exposure("u", 1))
    log.add(exposure("v", 2))
    assert EventLog(engine).forget("u") == 0
    assert (log.of_users(["u"]), log.of_users(["v"])) == ([], [exposure("v", 2)])


def test_the_tables_of_an_earlier_version_are_brought_up_to_date(tmp_path):
    path = str(tmp_path / "old.db")
    engine = open_database(path)
    EventLog(engine).add([event(1)])
    with engine.begin() as connection:  # as version 0002 left them
        connection.execute(text("DROP TABLE exposures"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    engine.dispose()
    again = open_database(path)
    ExposureLog(again).add(exposure("u", 3))
    assert [each.id for each in EventLog(again).of_user("u")] == ["e1"]
    assert ExposureLog(again).of_users(["u"]) == [exposure("u", 3)]
    again.dispose()


def test_a_thousand_events_at_once_by_eight_at_a_time_are_all_there(engine):
    log, together = EventLog(engine), Barrier(8)

    def add(part: int) -> None:
        together.wait()
        log.add([event(number) for number in range(part * 125, part * 125 + 130)])

    threads = [Thread(target=add, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.id for each in log.of_user("u")} == {f"e{number}" for number in range(1005)}
    assert len(log.of_user("u")) == 1005


def test_a_later_change_of_an_item_replaces_the_earlier(engine):
    kept = ItemChanges(engine)
    first = ItemChange(ItemId("a"), hidden=True)
    second = ItemChange(ItemId("b"), removed=True)
    kept.put([first, second])
    assert kept.all() == {"a": first, "b": second}
    added = ItemChange(ItemId("a"), title="Kite", columns={"price": 3.5, "brand": "Föhn"})
    kept.put([added])
    assert kept.all() == {"a": added, "b": second}


def test_the_migrations_make_the_tables_that_the_code_knows(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == "0003"


def test_a_database_is_opened_again_by_several_at_once(address, engine):
    EventLog(engine).add([event(1)])
    opened = []
    threads = [Thread(target=lambda: opened.append(open_database(address))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(EventLog(each).of_user("u")) for each in opened] == [1] * 4
    for each in opened:
        each.dispose()


def test_what_sqlite_has_answered_is_on_disk(tmp_path):
    engine = open_database(str(tmp_path / "state.db"))
    with engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
    engine.dispose()


def test_an_address_of_something_else_is_refused_without_its_password(tmp_path):
    with pytest.raises(ConfigError, match="sqlite or postgresql, not in 'mysql'"):
        open_database("mysql://me:secret@host/db")
    with pytest.raises(InputError, match="cannot be opened") as refused:
        open_database("postgresql://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(refused.value)
    with pytest.raises(InputError, match="cannot be opened"):
        open_database(str(tmp_path / "no" / "such" / "folder.db"))
