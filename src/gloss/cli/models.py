"""`gloss models`: fetch pretrained models and adapters from a hub, publish and merge them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import BaseFolder, Json, Out

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Fetch, merge and publish models.", no_args_is_help=True)
    group.command()(pull)
    group.command()(push)
    group.command()(merge)
    app.add_typer(group, name="models")


def pull(
    name: Annotated[str, typer.Argument(help="The hub's name of a model, ORG/NAME.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The folder to write (default: models/ORG/NAME)."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="A branch, tag or commit (default: the newest).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which files and how large; fetch nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Fetch a model from the hub: safetensors only, no code, no pickle; the commit is recorded.

    A private or gated model needs HF_TOKEN in the environment; HF_ENDPOINT names another hub.

    Example: gloss models pull unsloth/Llama-3.2-1B
    """
    _require_hub()
    from gloss.cli import output
    from gloss.language import hub
    from gloss.language.bases import is_hub_name

    if not is_hub_name(name):
        raise typer.BadParameter(f"{name} is not a name of the hub (ORG/NAME)")
    plan = hub.plan_pull(name, revision)
    if dry_run:
        output.print_values(name, {"revision": plan.revision, **plan.sizes}, json=json)
        return
    output.note(
        f"{name} at {plan.revision[:12]}: {len(plan.sizes)} files, {plan.bytes / 1e6:,.1f} MB"
    )
    with output.announce("pull") as progress:
        made = hub.pull(plan, out or hub.MODELS / name, progress=progress)
    output.print_made(made, json=json)


def push(
    folder: Annotated[Path, typer.Argument(help="A model or adapter folder.")],
    repository: Annotated[str, typer.Argument(help="Where to, ORG/NAME; made if need be.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this, only say what would be uploaded.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see (default: private).")
    ] = False,
    json: Json = False,
) -> None:
    """Upload a model to the hub, with the token in HF_TOKEN; nothing happens without --yes.

    Example: gloss models push models/toys-llama me/toys-llama --yes
    """
    _require_hub()
    from gloss.cli import output
    from gloss.language import hub

    files = hub.pushed_files(folder)
    if yes:
        address = hub.push(folder, repository, private=not public)
        output.print_values(repository, {"commit": address, "files": len(files)}, json=json)
    else:
        output.print_values(f"{repository}, without --yes nothing is uploaded", files, json=json)


def merge(
    adapter: Annotated[Path, typer.Argument(help="An adapter folder made by `gloss train`.")],
    out: Out,
    base: BaseFolder = None,
    json: Json = False,
) -> None:
    """Write an adapter and its base model as one model, for tools without support for adapters.

    Example: gloss models merge models/toys-llama -o models/toys-llama-whole
    """
    from gloss.cli import output
    from gloss.experiment import stages

    with output.announce("merge"):
        made = stages.merge(adapter, out, base=base)
    output.print_made(made, json=json)


def _require_hub() -> None:
    from importlib.util import find_spec

    from gloss.errors import MissingExtraError

    if find_spec("huggingface_hub") is None or find_spec("transformers") is None:
        raise MissingExtraError("talking to a hub", "train")
