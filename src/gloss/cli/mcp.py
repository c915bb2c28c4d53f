"""`gloss mcp`: a bundle as tools for assistants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.errors import require_extra

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(mcp)


def mcp(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle: see `gloss bundle` and `gloss fit`.")
    ],
) -> None:
    """Answer an assistant on standard input and output (Model Context Protocol).

    Tools: recommend, search, explain. They read only, and keep nothing.

    Example: gloss mcp demo-bundle
    """
    require_extra("tools for assistants", "mcp", "mcp")
    from gloss.serving.mcp_tools import make_server
    from gloss.serving.served import ServedBundle

    make_server(ServedBundle.open(bundle)).run()
