"""The command line in this process: what it prints and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gloss.cli.main import main


@dataclass(frozen=True, slots=True)
class Said:
    """How a call ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong; nothing was printed as a result."""
        lines = self.err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert self.code in (1, 2), (self.code, self.err)
        assert self.out == "", self.out
        assert len(errors) == 1, self.err
        assert lines[-1] == errors[0], self.err
        assert "Traceback" not in self.err
        return errors[0].removeprefix("error: ")


Gloss = Callable[..., Said]


@pytest.fixture(autouse=True)
def handlers_of_signals() -> Iterator[None]:
    """`main` owns its process, and so its signals; here the process is pytest's."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def gloss(monkeypatch, capsys, tmp_path) -> Gloss:
    """Calls `gloss` from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["gloss", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return call


@pytest.fixture
def done(gloss) -> Gloss:
    """The same for calls that must end well."""

    def call(*arguments: object) -> Said:
        said = gloss(*arguments)
        assert said.code == 0, said.err
        return said

    return call


@pytest.fixture(scope="session")
def other_shop(tmp_path_factory) -> Path:
    """A data set that is not the run's."""
    from gloss.config import ShopData
    from gloss.experiment import stages

    return stages.prepare(
        ShopData(users=40, seed=5), tmp_path_factory.mktemp("other") / "data"
    ).path


@pytest.fixture(scope="session")
def bundled(run, tmp_path_factory) -> Path:
    """The bundle of the run; read it, leave it as it is."""
    from gloss.experiment.bundling import bundle

    return bundle(run.path, tmp_path_factory.mktemp("bundles") / "bundle").path
