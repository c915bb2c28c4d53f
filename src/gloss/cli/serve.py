"""`gloss serve` and `gloss key`: a recommender as a service, and who may use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.cli.options import Ray
from gloss.errors import ConfigError, require_extra

if TYPE_CHECKING:
    from gloss.serving.arms import Experiment
    from gloss.serving.security import Keys
    from gloss.serving.served import Served
    from gloss.serving.settings import ServingSettings

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
    other: Annotated[
        Path | None,
        typer.Argument(metavar="[B]", help="A second bundle, for an experiment: see --split."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Of two bundles: shares of users who are given each, as 90/10 (default: 50/50).",
        ),
    ] = None,
    shadow: Annotated[
        bool,
        typer.Option(
            "--shadow", help="Of two bundles: everybody is given BUNDLE; B is asked for the log."
        ),
    ] = False,
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
    ray: Ray = None,
    replicas: Annotated[
        int | None,
        typer.Option("--replicas", min=1, help="With --ray: services that share the requests."),
    ] = None,
) -> None:
    """Serve recommendations over HTTP, with a page to try them; see docs/serving.md.

    Two bundles are an experiment: a user is given the same one each time, and the state keeps what
    was shown to whom; `gloss compare --log` says what they bought.

    Example: gloss serve demo-bundle
    """
    require_extra(
        "serving", "serve", "fastapi", "uvicorn", "sqlalchemy", "alembic", "prometheus_client"
    )
    if ray is None and replicas is not None:
        raise ConfigError("--replicas are those of a cluster: say which (--ray [ADDRESS])")
    from gloss.cli import output
    from gloss.serving import server
    from gloss.serving.app import create_service
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
        experiment=_experiment(bundle, other, split, is_shadow=shadow),
    )
    known = _keys(keys)
    server.check_host(settings, has_keys=bool(known))
    opener = _opener(bundle, other)
    shown = f"[{host}]" if ":" in host else host
    served = bundle if other is None else f"{bundle} and {other}"
    saying = f"serving {served} on http://{shown}:{port}/ (Ctrl-C ends it)"
    if ray is not None:
        recipe = opener, state, settings, known
        _serve_on_ray(ray, recipe, replicas or 1, lambda: output.note(saying))
        return
    service = create_service(opener, open_database(state), settings, known)
    output.note(saying)
    server.serve(service)


def _serve_on_ray(
    address: str,
    recipe: tuple[Callable[[], Served], str, ServingSettings, Keys],
    replicas: int,
    say: Callable[[], None],
) -> None:
    require_extra("serving on a cluster", "scale", "ray.serve")
    from gloss.scale.cluster import connected
    from gloss.scale.serving import ReplicaRecipe, require_shared_state, serve_until_stopped
    from gloss.scale.worker import Surroundings

    opener, state, settings, keys = recipe
    require_shared_state(state)
    with connected(address):
        whole = ReplicaRecipe(opener, state, settings, keys, Surroundings.here())
        serve_until_stopped(whole, replicas, say)


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


def _opener(bundle: Path, other: Path | None) -> Callable[[], Served]:
    """What opens one bundle, or both."""
    from gloss.serving.arms import ServedArms
    from gloss.serving.model_process import ServedProcess

    if other is None:
        return lambda: ServedProcess.open(bundle)
    return ServedArms.opener(lambda: ServedProcess.open(bundle), lambda: ServedProcess.open(other))


def _experiment(
    bundle: Path, other: Path | None, split: str | None, *, is_shadow: bool
) -> Experiment | None:
    from gloss.serving.arms import Experiment, parse_split

    if other is None:
        if split is not None or is_shadow:
            raise ConfigError(
                "--split and --shadow are of two bundles: gloss serve A B --split 90/10"
            )
        return None
    if split is not None and is_shadow:
        raise ConfigError("with --shadow everybody is given the first bundle: leave out --split")
    if bundle.resolve() == other.resolve():
        raise ConfigError(f"both bundles are {bundle}: an experiment needs two")
    names = bundle.resolve().name, other.resolve().name
    if names[0] == names[1]:  # of two runs, say
        names = str(bundle), str(other)
    return Experiment(names, parse_split(split or "50/50"), is_shadow=is_shadow)


def _keys(file: Path | None) -> Keys:
    """The keys of a file, or of the environment; none if there is neither."""
    from gloss.serving.security import Keys

    if file is not None:
        return Keys.of_file(file)
    text = os.environ.get(_KEYS_VARIABLE)
    return Keys() if text is None else Keys.read(text, _KEYS_VARIABLE)
