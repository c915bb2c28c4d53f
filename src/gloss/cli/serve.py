"""`gloss serve` and `gloss key`: a recommender as a service, and who may use it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.errors import ConfigError, require_extra

if TYPE_CHECKING:
    from gloss.serving.security import Keys

__all__ = ["register"]

_KEYS_VARIABLE = "GLOSS_KEYS"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(serve)
    app.command()(key)


def serve(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle: see `gloss bundle` and `gloss fit`.")
    ],
    host: Annotated[
        str, typer.Option("--host", help="The address to serve; others than this machine's: keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port.")] = 8000,
    state: Annotated[
        str,
        typer.Option(
            "--state",
            envvar="GLOSS_STATE",
            show_envvar=True,
            help="Where events and catalogue changes are kept: a file (SQLite) or the URL of a "
            "PostgreSQL database.",
        ),
    ] = "gloss-state.db",
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", help=f"The file of `gloss key` (default: the content of {_KEYS_VARIABLE})."
        ),
    ] = None,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="Histories that are decoded together.")
    ] = 32,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=1, help="Requests that wait before others get 429.")
    ] = 256,
    deadline: Annotated[
        float, typer.Option("--deadline", min=0.1, help="Seconds that a request may take.")
    ] = 30.0,
    report: Annotated[
        Path | None,
        typer.Option("--report", exists=True, dir_okay=False, help="The run's page, to be shown."),
    ] = None,
) -> None:
    """Serve recommendations over HTTP, with a page to try them; see docs/serving.md.

    Example: gloss serve demo-bundle
    """
    require_extra(
        "serving", "serve", "fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client"
    )
    from gloss.cli import output
    from gloss.serving import server
    from gloss.serving.app import create_service
    from gloss.serving.served import ServedBundle
    from gloss.serving.settings import ServingSettings
    from gloss.serving.state.store import open_database

    settings = ServingSettings(
        host,
        port,
        max_batch=max_batch,
        max_waiting=max_waiting,
        deadline_seconds=deadline,
        name=bundle.resolve().name,
        report=report,
    )
    known = _keys(keys)
    server.check_host(settings, has_keys=bool(known))
    service = create_service(
        lambda: ServedBundle.open(bundle),
        open_database(state),
        settings,
        known,
    )
    shown = f"[{host}]" if ":" in host else host
    output.note(f"serving {bundle} on http://{shown}:{port}/ (Ctrl-C ends it)")
    server.serve(service)


def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; it stands in the file.")],
    keys: Annotated[Path, typer.Option("--keys", help="The file to add it to.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may do; repeat (default: recommend)."),
    ] = None,
) -> None:
    """Make a key for a service. It is shown once; the file keeps only its hash.

    Scopes: recommend, catalogue, events, metrics, admin.

    Example: gloss key shop --keys keys.json --scope recommend --scope events
    """
    from gloss.artifacts import write_atomic
    from gloss.cli import output
    from gloss.errors import did_you_mean
    from gloss.serving.security import SCOPES, Keys, new_key

    wanted = scope or ["recommend"]
    for each in wanted:
        if each not in SCOPES:
            raise ConfigError(f"unknown scope {each!r} ({did_you_mean(each, SCOPES)})")
    text, made = new_key(name, [each for each in SCOPES if each in wanted])
    known = Keys.of_file(keys) if keys.exists() else Keys()
    write_atomic(keys, known.with_key(made).to_json().encode())
    output.print_line(text)


def _keys(file: Path | None) -> Keys:
    """The keys of a file, or of the environment; none if there is neither."""
    from gloss.serving.security import Keys

    if file is not None:
        return Keys.of_file(file)
    text = os.environ.get(_KEYS_VARIABLE)
    return Keys() if text is None else Keys.read(text, _KEYS_VARIABLE)
