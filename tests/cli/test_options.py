"""Options repeat settings, so that `--help` shows them without loading the settings' models."""

from __future__ import annotations

import pytest
import typer

from gloss.cli.app import app
from gloss.config import Decoding, Loading

GENERATE = typer.main.get_command(app).commands["generate"]
FIELDS = {
    name: field for section in (Decoding, Loading) for name, field in section.model_fields.items()
}


@pytest.mark.parametrize("name", FIELDS)
def test_an_option_of_generate_has_the_default_of_its_setting(name):
    option_name = "decoding" if name == "mode" else name
    (option,) = [each for each in GENERATE.params if each.name == option_name]
    assert option.default == FIELDS[name].default
