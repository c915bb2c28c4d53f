from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"


@pytest.mark.parametrize("name", ["next_title_generator.py", "test_next_title_generator.py"])
def test_the_page_on_extending_shows_the_code_that_runs_here(name):
    code = (HERE / name).read_text("utf-8").strip()
    pages = [page.read_text("utf-8") for page in DOCS.glob("extending*.md")]
    assert any(f"```python\n{code}\n```" in page for page in pages), f"{name} is shown nowhere"
