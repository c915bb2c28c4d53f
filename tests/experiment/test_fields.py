from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from gloss.experiment.fields import Section, sections


class Small(BaseModel):
    kind: Literal["small"] = "small"
    size: int = 1


class Large(BaseModel):
    kind: Literal["large", "huge"]


class Inner(BaseModel):
    depth: int = 1
    hidden: int = Field(0, exclude=True)


class Outer(BaseModel):
    name: str
    choice: Annotated[Small | Large, Field(discriminator="kind")]
    inner: Inner | None = Inner(depth=7)
    word: Literal["a", "b"] = "a"


def test_every_section_is_found_with_its_choice():
    assert [section.location for section in sections(Outer)] == [
        (),
        ("choice", "small"),
        ("choice", "large"),
        ("choice", "huge"),
        ("inner",),
    ]


def test_a_section_knows_what_holds_where_it_is_left_out():
    *_, inner = sections(Outer)
    assert inner == Section(("inner",), "", Inner, Inner(depth=7))
    assert inner.settings == ("depth",)
