# Two commands do everything on a machine with Python 3.11 or later: `make demo` and `make test`.
# Each makes .venv first. PYTHON chooses the interpreter.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test campaign lint docs lock clean

demo: .venv/.demo
	$(BIN)/gloss demo

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/make_cli_page.py --check
	$(BIN)/python docs/make_configuration_page.py --check
	$(BIN)/python docs/make_pictures.py --check
	$(BIN)/pytest --numprocesses 2 --dist loadscope

# Hours of damage: kills, flipped bits, bad disks, hostile texts and files (docs/reliability.md).
campaign: .venv/.dev
	PYTHONPATH=tests $(BIN)/python -W ignore -m campaign $(CAMPAIGN) \
		--out benchmarks/results/campaign.json

lint: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

docs: .venv/.dev
	$(BIN)/python docs/make_cli_page.py
	$(BIN)/python docs/make_configuration_page.py
	$(BIN)/python docs/make_pictures.py
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q docs docs/_build/html

# Everything but torch is installed by hash. torch is pinned by version only, so that a CPU build
# from another index, or one that lies on disk, serves as well.
.venv/.demo: requirements/demo.txt constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes --no-deps -r requirements/demo.txt
	$(PIP) -c constraints.txt torch
	$(PIP) --no-build-isolation --no-deps -e .
	touch $@

.venv/.dev: .venv/.demo requirements/dev.txt
	$(PIP) --require-hashes --no-deps -r requirements/dev.txt
	touch $@

# A full resolve of all extras: versions to constraints.txt, and with hashes to requirements/.
lock:
	requirements/lock.sh

clean:
	rm -rf .venv build dist src/*.egg-info
