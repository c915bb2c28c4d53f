"""What a benchmark ran on and what that can do, so that its figures can say so.

torch is imported where it is asked for: benchmarks of what needs none run without it.
"""

from __future__ import annotations

import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "GLOSS",
    "best_device",
    "hardware",
    "matrix_rate",
    "process_cost",
    "processor",
    "seconds_of",
    "wait",
]

GLOSS = (sys.executable, "-c", "from gloss.cli.main import main; main()")
"""The command `gloss`, of whichever version stands in PYTHONPATH."""

# As the commands do (gloss/cli/main.py); where this is imported before torch, it counts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def processor() -> str:
    """The processor and its cores; `platform.processor()` is empty on Linux."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def hardware() -> str:
    """The GPU that torch would use, or else the processor."""
    try:
        import torch
    except ImportError:
        return processor()
    return torch.cuda.get_device_name() if torch.cuda.is_available() else processor()


def best_device() -> str:
    """What torch would best work on: "cuda" or "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def matrix_rate(device: str) -> float:
    """Operations a second of a large matrix product on random data, in bf16 on a GPU."""
    import torch

    size, dtype = (8192, torch.bfloat16) if device != "cpu" else (1536, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: a @ b, device)


def seconds_of(work: Callable[[], Any], device: str, repeats: int = 10) -> float:
    """Seconds that the work takes, the mean after a warm-up."""
    for _ in range(3):
        work()
    wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - started) / repeats


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize()


def process_cost(
    command: Sequence[str], source: Path, *, cores: int, limit: int | None = None
) -> dict[str, float]:
    """What a process costs that runs with a version of gloss (`source`, its src), as the operating
    system counts it.

    limit: processor seconds after which it is ended; then only they are returned. Others may use
    the machine, so that seconds by the clock would end what is not slow. Exits where it fails.
    """
    threads = {"POLARS_MAX_THREADS": str(cores), "OMP_NUM_THREADS": str(cores)}
    environment = {**os.environ, **threads, "PYTHONPATH": str(source.resolve())}
    load, started = os.getloadavg()[0], time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:cores])
    if limit:
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (limit, limit))
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"ended after processor seconds": limit or 0, "load before": round(load, 1)}
    if status:
        sys.exit(f"{source}: {' '.join(command)} failed")
    return {
        "seconds": round(seconds, 1),
        "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "most memory, MiB": used.ru_maxrss // 1024,
        "load before": round(load, 1),
    }
