"""Options of commands that are settings of an experiment as well."""

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
def test_every_setting_of_decoding_and_loading_is_an_option_of_generate(name):
    option_name = "decoding" if name == "mode" else name
    (option,) = [each for each in GENERATE.params if each.name == option_name]
    assert option.help == FIELDS[name].description
    assert option.default == FIELDS[name].default


def test_an_option_has_the_bounds_of_its_setting(gloss):
    call = ("generate", "-m", "x", "-d", "y", "-o", "z", "--beams")
    assert "--beams" in gloss(*call, 0).error
    assert "--beams" in gloss(*call, 1001).error
