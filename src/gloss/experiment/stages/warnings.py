"""Warnings of a summary, said aloud: before anything is trained on what they are about."""

from __future__ import annotations

import logging
from collections.abc import Iterable

__all__ = ["log_warnings"]

_LOG = logging.getLogger(__name__)


def log_warnings(warnings: Iterable[str]) -> None:
    """Log them, whether their artefact was made now or before."""
    for warning in warnings:
        _LOG.warning("warning: %s", warning)
