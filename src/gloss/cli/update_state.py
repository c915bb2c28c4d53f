"""`gloss update --state`: what a service's state knows, as files for an update."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gloss.errors import ArtifactError, GlossError, InputError, require_extra

if TYPE_CHECKING:
    from gloss.serving.state.news import News

__all__ = ["news_of_state"]


@contextmanager
def news_of_state(
    state: str, bundle: Path, out: Path, *, data: Path | None, joined: Path | None
) -> Iterator[News]:
    """The files, for the block. An update that was killed is ended with the files that it began
    with, whatever has been bought since: the next one knows that."""
    require_extra("the state of a service", "serve", "sqlalchemy", "alembic")
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.experiment import updating
    from gloss.serving.state.news import News, news_of
    from gloss.serving.state.store import existing_database

    folder = out.with_name(f"{out.name}-news")
    if folder.is_dir():
        output.note("an update that was killed is ended: what came since comes with the next one")
        news = News(folder)
    else:
        with existing_database(state) as engine:
            news = news_of(engine, Dataset.load(data or updating.data_of(bundle)), folder)
    try:
        yield news
    except GlossError:
        if not _has_joined(bundle, joined or updating.data_beside(out)):
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _has_joined(bundle: Path, joined: Path) -> bool:
    """Whether the data set has grown already, and the bundle has not."""
    from gloss.data.dataset import Dataset
    from gloss.recommender.bundle import open_bundle

    try:
        made_of = open_bundle(bundle).artifact.inputs["dataset"]
        return Dataset.load(joined).artifact.inputs.get("dataset") == made_of
    except (InputError, ArtifactError):
        return False
