"""The model card: what an adapter was made from, how, and how good its loss became.

The front matter is the hub's (huggingface.co/docs/hub/model-cards). Figures of recommendation stand
in a run's report; a card knows of losses only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gloss.prompts import PromptTemplate

__all__ = ["CardFacts", "model_card"]


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells. data: the data set's name; split and titles: how it was read; recipe:
    settings of model and training; counts: what was trained on; losses: the last measured."""

    base: str
    revision: str | None
    data: str
    split: str
    titles: str
    seed: int
    backend: str
    recipe: Mapping[str, Any]
    counts: Mapping[str, int]
    losses: Mapping[str, float]


def model_card(facts: CardFacts, template: PromptTemplate) -> str:
    """The README.md of an adapter folder, as Markdown."""
    front = {
        "base_model": facts.base,
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["gloss", "recommendation", "lora"],
    }
    at = f" at `{facts.revision}`" if facts.revision else ""
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n"
        f"# {facts.data}: the next purchase, written by {facts.base}\n\n"
        f"A LoRA adapter of `{facts.base}`{at}, fine-tuned by GLoSS ({facts.backend}) to write the "
        f"title of what a person will want next.\n\n"
        "## Data\n\n"
        f"`{facts.data}`, split `{facts.split}`, titles `{facts.titles}`.\n\n"
        f"{_table(facts.counts, 'what', 'how many')}\n"
        "## Recipe\n\n"
        f"{_table({**facts.recipe, 'seed': facts.seed}, 'setting', 'value')}\n"
        "## Losses\n\nNats a token that carries loss.\n\n"
        f"{_table(facts.losses, 'measured', 'value')}\n"
        "## Use\n\n"
        "```\ngloss generate -m THIS_FOLDER -d DATA -o generations\n```\n\n"
        "Any tool that reads PEFT adapters reads this one. The prompt, which `prompt.json` holds "
        "for machines:\n\n"
        f"```\n{template.render(['a title', 'a later title'])}```\n\n"
        f"It answers `{template.render_answer('a title')}` and its end-of-text token.\n"
    )


def _table(rows: Mapping[str, Any], left: str, right: str) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| {name} | {_cell(value)} |" for name, value in rows.items()), ""]
    )


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) and value >= 0.01 else str(value)
