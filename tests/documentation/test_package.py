"""Wheel and sdist are built, and the wheel works in an environment that holds nothing else of ours.

Nothing is downloaded: the build uses the setuptools that is installed, and what GLoSS depends on is
read from the environment of the tests.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="needs build (make .venv/.dev)")
pytest.importorskip("setuptools", reason="needs setuptools (make .venv/.dev)")

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """The folder with both, built from what a checkout holds."""
    source = tmp_path_factory.mktemp("source") / "gloss"
    tracked = _run("git", "ls-files", "-z", "pyproject.toml", "README.md", "LICENSE", "src")
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source))
    return out


@pytest.fixture(scope="module")
def gloss(distributions, tmp_path_factory) -> Path:
    """The command, from the wheel in an empty environment."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=False)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    site = Path(paths["purelib"])
    install = ("-m", "pip", "--quiet", "--python", str(folder / "bin" / "python"), "install")
    _run(sys.executable, *install, "--no-deps", "--no-index", str(_only(distributions, "*.whl")))
    # What it depends on comes after its own folder, so that `gloss` is the wheel's.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    return folder / "bin" / "gloss"


def test_the_wheel_holds_the_package_and_its_data(distributions):
    names = set(zipfile.ZipFile(_only(distributions, "*.whl")).namelist())
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "gloss").rglob("*")
        if path.suffix in {".py", ".yaml", ".html", ".css", ".json", ".js", ".typed"}
    }
    tracked = set(_run("git", "ls-files", "src").replace("src/", "").splitlines())
    assert (sources & tracked) - names == set()
    assert {"gloss/py.typed", "gloss/cli/demo.yaml", "gloss/report/page.html"} <= names


def test_the_sdist_holds_what_a_build_needs(distributions):
    with tarfile.open(_only(distributions, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/gloss/__init__.py"} <= names


def test_the_wheel_runs_where_nothing_else_of_ours_is(gloss, tmp_path):
    assert _run(str(gloss), "--version", cwd=tmp_path).strip() == VERSION
    _run(str(gloss), "prepare", "shop", "--users", "30", "-o", "shop", cwd=tmp_path)
    assert (tmp_path / "shop" / "catalogue.parquet").is_file()
    where = "import gloss; print(gloss.__file__)"
    at = Path(_run(str(gloss.parent / "python"), "-c", where, cwd=tmp_path).strip())
    assert at.is_relative_to(gloss.parents[1])


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def _run(*command: str, cwd: Path = ROOT) -> str:
    """What a program prints, with neither our sources nor settings of ours on its way."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PIP_NO_CACHE_DIR": "1"}
    ended = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
