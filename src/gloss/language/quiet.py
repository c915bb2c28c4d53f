"""Libraries kept from drawing on the terminal, for as long as GLoSS calls them.

Importing `gloss.language` changes nothing of theirs; these contexts do, and put it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from logging import ERROR, getLogger
from typing import Any

__all__ = ["quiet_hub", "quiet_transformers"]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers and the hub's client draw no progress bars: GLoSS reports its own progress.

    Libraries that transformers imports on the way do not complain of what is optional.
    """
    # bitsandbytes is imported by transformers wherever it is installed. On a CPU it then warns that
    # it could not fetch a kernel from a hub, which it does not need.
    logger = getLogger("bitsandbytes.backends.cpu.ops")
    level = logger.level
    logger.setLevel(ERROR)
    try:
        with quiet_hub(), _quiet_bars():
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def quiet_hub() -> Iterator[None]:
    """The hub's client draws no progress bars."""
    hub: Any = import_module("huggingface_hub.utils")
    were_shown = not hub.are_progress_bars_disabled()
    hub.disable_progress_bars()
    try:
        yield
    finally:
        (hub.enable_progress_bars if were_shown else hub.disable_progress_bars)()


@contextmanager
def _quiet_bars() -> Iterator[None]:
    """transformers draws no progress bars; it turns the hub's on and off with its own."""
    from transformers.utils import logging

    were_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_shown:
            logging.enable_progress_bar()
