"""One experiment as typed settings: the sections of config.py, and those of rankers and retrievers.

The section `rankers` has a section for each ranker that has settings, and is made from the tuple of
rankers; the section `index` has the settings of all retrievers, and is made from their tuple. Knows
settings; knows nothing of what they do, nor of files (loading.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, PositiveInt, Tag, create_model, model_validator

from gloss.config import (
    AmazonData,
    Decoding,
    LoraModel,
    Ranking,
    ScratchModel,
    Seed,
    Settings,
    ShopData,
    TableData,
    Training,
    TrainingSettings,
)
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
    length: PositiveInt = Field(200, description="Items that each ranker brings to the fusion.")
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
    return create_model("Rankers", __base__=RankersSection, use=use, **fields)


class FusionSection(Settings):
    """How the rankers' lists become one."""

    rule: Literal["log-linear", "trees", "reciprocal-rank"] = Field(
        "log-linear",
        description='By fitted weights, by fitted trees (extra "trees"), or by ranks alone.',
    )
    validation_users: PositiveInt = Field(
        4000, description="Validation users that weights or trees are fitted on, at most."
    )
    shifted_run: bool = Field(
        False,
        description="Fit not on the paper split's few validation users but on everybody's "
        "second-last purchase, for which all is trained a second time without it.",
    )


if TYPE_CHECKING:
    Index = IndexSection
    Rankers = RankersSection
else:
    Index = index_section(RETRIEVERS)
    Rankers = rankers_section(RANKERS)


def _recipe(settings: Any) -> Any:
    """What a section of model settings is for; without the word, training from zero."""
    if isinstance(settings, Mapping):
        return settings.get("recipe", "scratch")
    return getattr(settings, "recipe", "scratch")


class Experiment(Settings):
    """Everything that `gloss run` needs to know. The model's recipe says what `training` holds."""

    name: str
    seed: Seed = 0
    protocol: Literal["fair", "paper"] = "fair"
    data: Annotated[ShopData | AmazonData | TableData, Field(discriminator="source")]
    model: Annotated[
        Annotated[ScratchModel, Tag("scratch")] | Annotated[LoraModel, Tag("lora")],
        Discriminator(
            _recipe,
            custom_error_type="recipe",
            custom_error_message="recipe must be 'scratch' or 'lora'",
        ),
    ] = ScratchModel()
    training: Annotated[TrainingSettings, Field(discriminator="recipe")] = Training()
    decoding: Decoding = Decoding()
    index: Index = Index()
    ranking: Ranking = Ranking()
    rankers: Rankers = Rankers()
    fusion: FusionSection = FusionSection()
    limit_users: PositiveInt | None = None

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
        return self
