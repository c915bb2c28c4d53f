from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "extending.md"


@pytest.mark.parametrize("name", ["next_title_generator.py", "test_next_title_generator.py"])
def test_the_page_on_extending_shows_the_code_that_runs_here(name):
    code = (HERE / name).read_text("utf-8").strip()
    assert f"```python\n{code}\n```" in PAGE.read_text("utf-8")
