"""One experiment as typed settings: the sections of config.py, and those of rankers and retrievers.

The section `rankers` has a section for each ranker that has settings. It, `fusion` and `index` are
made from the tuples of rankers, of fusion rules and of retrievers. Knows settings; knows nothing of
what they do, nor of files (loading.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    Discriminator,
    Field,
    Tag,
    create_model,
    field_validator,
    model_validator,
)

from gloss.choices import ProtocolName
from gloss.config import (
    AmazonData,
    Decoding,
    Distillation,
    ListLength,
    LoraModel,
    PresetData,
    Ranking,
    ScratchModel,
    Seed,
    Settings,
    Share,
    ShopData,
    TableData,
    Training,
    TrainingSettings,
    Users,
)
from gloss.fusion.rule import NEW_ITEMS, FusionRule
from gloss.fusion.rules import RULES
from gloss.rankers.ranker import RankerSpec
from gloss.rankers.specs import RANKERS
from gloss.retrieval.retriever import RetrieverSpec
from gloss.retrieval.settings import ENCODER, PROTOCOL_SETTINGS
from gloss.retrieval.specs import RETRIEVERS

__all__ = [
    "Experiment",
    "FusionSection",
    "IndexSection",
    "RankersSection",
    "distillation_section",
    "fusion_section",
    "index_section",
    "rankers_section",
]

S = TypeVar("S", bound=Settings)


class IndexSection(Settings):
    """How the catalogue is indexed and searched. Null means as the protocol says.

    A retriever reads some of these settings; one that it does not read is an error.
    """

    retriever: str = Field("bm25", description="What finds items.")

    def chosen(self) -> dict[str, Any]:
        """The settings, besides the retriever, that are not as they would be anyway."""
        return self.model_dump(exclude_defaults=True, exclude={"retriever"})


def index_section(specs: Sequence[RetrieverSpec[Any]]) -> type[IndexSection]:
    """The section `index` for these retrievers: their names, and the settings of all of them."""
    names: Any = Literal[tuple(spec.name for spec in specs)]
    fields: dict[str, Any] = {"retriever": (names, IndexSection.model_fields["retriever"])}
    for spec in specs:
        for name, field in spec.settings.model_fields.items():
            if name == "title_style":  # the model is trained on titles of the protocol's style
                continue
            if name in PROTOCOL_SETTINGS:
                as_protocol_says = Field(None, description=field.description)
                fields.setdefault(name, (bool | None, as_protocol_says))
            else:
                fields.setdefault(name, (field.annotation, field))
    return create_model("Index", __base__=IndexSection, **fields)


class RankersSection(Settings):
    """Rankers without a language model, to be fused with it. Below stands a section for each."""

    use: tuple[str, ...] = Field(
        (), description="The rankers that are fused with the language model; without any, none."
    )
    length: ListLength | None = Field(
        None,
        description="Items that each ranker brings to the fusion (default: follows the number of "
        "titles, 20 to 200).",
    )
    encoder: str = Field(
        ENCODER,
        description="The sentence encoder, by name or folder, that makes vectors of titles, and "
        "that the dual encoder is trained from.",
    )

    def of(self, spec: RankerSpec[S]) -> S:
        """The settings of one ranker."""
        settings: S = getattr(self, spec.section, None) or spec.settings()
        return settings


def rankers_section(specs: Sequence[RankerSpec[Any]]) -> type[RankersSection]:
    """The section `rankers` for these rankers: their names in `use`, and a section for each."""
    names: Any = Literal[tuple(spec.name for spec in specs)]
    fields: dict[str, Any] = {
        spec.section: (spec.settings, Field(spec.settings(), description=f"{spec.label}."))
        for spec in specs
        if spec.settings.model_fields
    }
    use = tuple[names, ...], RankersSection.model_fields["use"]
    doc = RankersSection.__doc__
    return create_model("Rankers", __base__=RankersSection, __doc__=doc, use=use, **fields)


def distillation_section(specs: Sequence[RankerSpec[Any]]) -> type[Distillation]:
    """The section `distillation`, where the rankers can teach that have a teacher."""
    names: Any = Literal[tuple(spec.name for spec in specs if spec.teacher)]
    teachers = tuple[names, ...], Distillation.model_fields["teachers"]
    doc = Distillation.__doc__
    return create_model("Distillation", __base__=Distillation, __doc__=doc, teachers=teachers)


class FusionSection(Settings):
    """How the rankers' lists become one."""

    rule: str = Field(
        "log-linear",
        description='By fitted weights, by fitted trees (extra "trees"), or by ranks alone.',
    )
    validation_users: Users = Field(
        4000,
        description="Validation users that weights or trees are fitted on, at most; they are drawn "
        "at random.",
    )
    shifted_run: bool = Field(
        False,
        description="Fit not on the paper split's few validation users but on everybody's "
        "second-last purchase, for which all is trained a second time without it.",
    )
    guard: bool = Field(
        True,
        description="Fit nothing on too few users, and serve the best ranker alone where the fused "
        "list is not better on validation users (cross-fitted).",
    )
    new_items: Share = Field(
        NEW_ITEMS,
        description="Share of the items that trees learn to meet as new ones, which only titles "
        "tell of; 0: none, and new items are not lifted.",
    )


def fusion_section(rules: Sequence[FusionRule]) -> type[FusionSection]:
    """The section `fusion` for these rules."""
    names: Any = Literal[tuple(rule.name for rule in rules)]
    rule = names, FusionSection.model_fields["rule"]
    return create_model("Fusion", __base__=FusionSection, __doc__=FusionSection.__doc__, rule=rule)


if TYPE_CHECKING:
    Index = IndexSection
    Rankers = RankersSection
    Fusion = FusionSection
    Teaching = Distillation
else:
    Index = index_section(RETRIEVERS)
    Rankers = rankers_section(RANKERS)
    Fusion = fusion_section(RULES)
    Teaching = distillation_section(RANKERS)


def _recipe(settings: Any) -> Any:
    """What a section of model settings is for; without the word, training from zero."""
    if isinstance(settings, Mapping):
        return settings.get("recipe", "scratch")
    return getattr(settings, "recipe", "scratch")


class Experiment(Settings):
    """Everything that `gloss run` needs to know."""

    name: str = Field(
        description="What the run is called, and its folder (`runs/NAME`); `{section.key}` in it "
        "stands for that setting."
    )
    seed: Seed = Field(0, description="Seed of all training; with it a CPU repeats every byte.")
    protocol: ProtocolName = Field(
        "fair", description="What is not set below: as we recommend it, or as the paper did."
    )
    data: Annotated[
        ShopData | AmazonData | TableData | PresetData, Field(discriminator="source")
    ] = Field(description="The purchases and the catalogue; `source` says where they come from.")
    model: Annotated[
        Annotated[ScratchModel, Tag("scratch")] | Annotated[LoraModel, Tag("lora")],
        Discriminator(
            _recipe,
            custom_error_type="recipe",
            custom_error_message="recipe must be 'scratch' or 'lora'",
        ),
    ] = Field(ScratchModel(), description="The language model; `recipe` says how it is made.")
    training: Annotated[TrainingSettings, Field(discriminator="recipe")] = Field(
        Training(), description="How it is trained; the settings are those of the model's recipe."
    )
    distillation: Teaching = Field(
        Teaching(), description="What it learns from rankers (`model.recipe: scratch`)."
    )
    decoding: Decoding = Field(Decoding(), description="How it writes titles.")
    index: Index = Field(Index(), description="How the catalogue is searched for them.")
    ranking: Ranking = Field(Ranking(), description="How items found become a list, and figures.")
    rankers: Rankers = Field(Rankers(), description="Rankers that need no language model.")
    fusion: Fusion = Field(Fusion(), description="How all lists become one.")
    limit_users: Users | None = Field(
        None, description="Only so many users of each split, drawn at random (default: all)."
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[^./][^/]{0,99}", name) or not (name.isprintable() and name.strip()):
            raise ValueError("must be 1 to 100 printable characters without '/' or a leading '.'")
        return name

    @model_validator(mode="before")
    @classmethod
    def _training_for_the_recipe(cls, settings: Any) -> Any:
        """Hand the model's recipe to the training section, where nobody types it."""
        if not isinstance(settings, Mapping):
            return settings
        recipe = _recipe(settings.get("model"))
        training = settings.get("training", {})
        if not isinstance(training, Mapping) or "recipe" in training:
            return settings
        tag = recipe if recipe in ("scratch", "lora") else "scratch"
        return {**settings, "training": {**training, "recipe": tag}}

    @model_validator(mode="after")
    def _training_fits_the_model(self) -> Experiment:
        if self.training.recipe != self.model.recipe:
            raise ValueError(
                f"the training section is for {self.training.recipe!r}, the model's recipe is "
                f"{self.model.recipe!r}"
            )
        if self.distillation.teachers and self.model.recipe != "scratch":
            raise ValueError(
                "distillation.teachers teach a model from zero: take model.recipe scratch, or no "
                "teachers"
            )
        return self
