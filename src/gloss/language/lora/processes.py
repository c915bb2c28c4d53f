"""The processes of one training: several under `torchrun` or `accelerate launch`, or one."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import torch

__all__ = ["is_main_process", "training_device", "wait_for_everyone"]


def is_main_process() -> bool:
    """Whether this is the process that writes; true where there is only one."""
    return int(os.environ.get("RANK", "0")) == 0


def training_device() -> str:
    """This process's GPU, or "cpu" without one."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def wait_for_everyone() -> None:
    """Let all processes arrive here."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        accelerate: Any = import_module("accelerate")
        accelerate.PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
