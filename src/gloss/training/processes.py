"""The processes of one piece of work: several under `torchrun` or `accelerate launch`, or one.

All read the same data, settings and folders, and take every step together; the first writes and
speaks. Their number and each one's own stand in the environment, where the launcher puts them.

Knows who and how many they are; what they compute together is data_parallel.py's. Importing it
imports no torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from gloss.errors import GlossError, UsageError, is_out_of_memory

__all__ = [
    "SECONDS_TO_BE_ENDED",
    "is_first_process",
    "join_processes",
    "leave_processes",
    "peers_named",
    "process_count",
    "process_device",
    "process_number",
    "wait_for_all",
]

SECONDS_TO_BE_ENDED = 5.0
"""A launcher that sees one process fail ends the others well within this time."""

_LONGEST_WAIT = timedelta(days=7)
"""For the first process, which may write alone; if it dies, the launcher ends those that wait."""


def process_count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """This process's number, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks; true where there is only one."""
    return process_number() == 0


def process_device() -> str:
    """This process's GPU, or "cpu" without one."""
    import torch

    return f"cuda:{_local_number()}" if torch.cuda.is_available() else "cpu"


def join_processes() -> None:
    """Connect the processes, each with a GPU of its own if there are any; once, before they wait
    or compute together. Nothing is done where there is one process.

    Raises UsageError if a host has fewer GPUs than processes.
    """
    import torch
    from torch import distributed

    if process_count() == 1 or distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if _local_number() >= gpus:
            raise UsageError(f"there are more processes than GPUs on this host, which has {gpus}")
        torch.cuda.set_device(_local_number())
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_LONGEST_WAIT)


def wait_for_all() -> None:
    """Let all processes arrive here."""
    if process_count() == 1:
        return
    import torch
    from torch import distributed

    join_processes()
    with peers_named():
        distributed.all_reduce(torch.zeros(()))


@contextmanager
def peers_named() -> Iterator[None]:
    """Raise GlossError where the block's communication fails because another process has ended."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # The one that failed has said why, and the launcher is about to end this one.
        time.sleep(SECONDS_TO_BE_ENDED)
        raise GlossError("another process of this training has ended, so this one ends") from error


def leave_processes() -> None:
    """Part in good order, when all are done: at the end of a call that has come well so far."""
    if process_count() == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        wait_for_all()
        distributed.destroy_process_group()


def _local_number() -> int:
    """This process's number on its host."""
    return int(os.environ.get("LOCAL_RANK", "0"))
