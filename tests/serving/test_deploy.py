"""The files of deploy/ call what there is: options, extras, files, ports and paths."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from gloss.cli.app import app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def deployment() -> dict:
    return next(iter(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())))


def serve_options() -> set[str]:
    command = typer.main.get_command(app).commands["serve"]
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "gloss.service", "kubernetes.yaml"])
def test_the_options_of_serve_exist(name):
    text = (DEPLOY / name).read_text()
    calls = re.findall(r"(?:gloss serve|\[\"serve\").*", text)
    used = {option for call in calls for option in re.findall(r"--[a-z-]+", call)}
    assert calls
    assert used <= serve_options()


def test_what_the_image_copies_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert {"pyproject.toml", "src"} <= set(copied)
    assert all((ROOT / source).exists() and f"!{source}" in ignored for source in copied)


def test_the_images_extras_and_its_torch_are_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"\"\.\[(.+)\]\"", DOCKERFILE)
    assert {"train", "serve"} <= set(extras.split(",")) <= set(project["optional-dependencies"])
    (torch,) = re.findall(r"torch==\S+", DOCKERFILE)
    assert torch in (ROOT / "constraints.txt").read_text().split()


def test_ports_and_paths_are_those_of_the_service(compose, deployment, shop):
    paths = shop.client.get("/v1/openapi.json").json()["paths"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/livez", "port": "http"}
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    assert {"/livez", scraped["metrics_path"]} <= set(paths)
    assert "http://127.0.0.1:8000/livez" in DOCKERFILE
    assert container["ports"] == [{"name": "http", "containerPort": 8000}]
    assert compose["services"]["gloss"]["ports"] == ["127.0.0.1:8000:8000"]
    assert scraped["static_configs"] == [{"targets": ["gloss:8000"]}]


def test_nothing_runs_as_root_or_may_write_its_image(compose, deployment):
    user = deployment["spec"]["template"]["spec"]["securityContext"]
    assert (user["runAsNonRoot"], user["runAsUser"]) == (True, 10001)
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[::2] == ["10001", "10001"]
    assert compose["services"]["gloss"]["read_only"]


def test_systemd_takes_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "gloss.service").read_text()
    here = tmp_path / "gloss.service"
    here.write_text(unit.replace("/opt/gloss/bin/gloss", sys.executable))
    found = subprocess.run(
        ["systemd-analyze", "verify", here], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr.strip()) == (0, "")
