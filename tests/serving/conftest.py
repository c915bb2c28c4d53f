"""The bundle of a tiny run with rankers, and the service of it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gloss.experiment import pipeline
from gloss.experiment.bundling import bundle, fit
from gloss.experiment.loading import with_overrides

if TYPE_CHECKING:
    from services import Running

_NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client", "httpx")

_MISSING = [name for name in _NEEDED if not find_spec(name)]


class _Unimportable(pytest.Module):
    """A file of tests that is skipped before it is imported."""

    def collect(self):
        pytest.skip(f"the extras serve and dev lack {', '.join(_MISSING)}")


def pytest_pycollect_makemodule(module_path, parent):
    """Skip what needs a package that is not there; None where all are."""
    return _Unimportable.from_parent(parent, path=module_path) if _MISSING else None


SETTINGS = {
    "name": "tiny",
    "data": {"source": "shop", "users": 100, "split": "leave-one-out"},
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {"epochs": 1, "warmup_steps": 2, "validation_users": 10},
    "decoding": {"beams": 4},
    "limit_users": 20,
    "rankers": {"use": ["transitions", "word-overlap"], "length": 40},
    "fusion": {"guard": False},  # served are all parts, whatever they are worth
}


@pytest.fixture(scope="session")
def shop_bundle(tmp_path_factory) -> Path:
    """The bundle of a run with rankers; read it, leave it as it is."""
    folder = tmp_path_factory.mktemp("served")
    pipeline.run(with_overrides(SETTINGS, []), folder / "run")
    return bundle(folder / "run", folder / "bundle").path


@pytest.fixture(scope="session")
def other_bundle(shop_bundle, tmp_path_factory) -> Path:
    """A bundle of the same shop by other parts: rankers alone, another split of its purchases."""
    folder = tmp_path_factory.mktemp("other")
    settings = {**SETTINGS, "rankers": {"use": ["word-overlap"], "length": 40}}
    pipeline.run(with_overrides({**settings, "name": "other", "seed": 1}, []), folder / "run")
    return bundle(folder / "run", folder / "other").path


@pytest.fixture(scope="session")
def rankers_bundle(tmp_path_factory) -> Path:
    """A bundle without a language model: its process starts within a second."""
    folder = tmp_path_factory.mktemp("rankers")
    rankers = with_overrides({**SETTINGS, "rankers": {"use": ["word-overlap"]}}, [])
    return fit(rankers, folder / "bundle", parts=folder / "parts", model=False).path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL that tests share; they empty its tables, or use other users."""
    from databases import postgresql, postgresql_programs

    programs = postgresql_programs()
    if programs is None or not find_spec("psycopg"):
        pytest.skip("needs Debian's package postgresql, and psycopg of the extra serve")
    with postgresql(programs) as url:
        yield url


@pytest.fixture(scope="module")
def shop(shop_bundle, tmp_path_factory) -> Iterator[Running]:
    """A service without keys, shared by a file of tests."""
    from services import running

    with running(shop_bundle, tmp_path_factory.mktemp("state") / "state.db") as service:
        yield service
