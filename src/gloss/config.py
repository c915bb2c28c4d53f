"""One experiment as typed settings: a section for each stage.

Knows settings; knows nothing of what they do, nor of files (experiments.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    model_validator,
)

__all__ = [
    "AS_IT_IS",
    "AmazonData",
    "Decoding",
    "Experiment",
    "FusionRule",
    "Index",
    "Loading",
    "LoraModel",
    "LoraTraining",
    "ModelSettings",
    "PresetData",
    "PresetName",
    "Ranking",
    "SASRec",
    "ScratchModel",
    "ShopData",
    "SignalName",
    "Signals",
    "TableData",
    "Training",
    "TrainingSettings",
    "Transitions",
    "Tuning",
]

Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Section = TypeVar("_Section", bound=_Settings)

SplitRule = Literal["paper", "leave-one-out"]


def _as_sources(value: Any) -> Any:
    """One source or several, as the texts that were typed."""
    several = value if isinstance(value, list | tuple) else [value]
    return tuple(str(each) if isinstance(each, Path) else each for each in several)


Sources = Annotated[tuple[str, ...], BeforeValidator(_as_sources)]


class ShopData(_Settings):
    """The built-in synthetic shop."""

    source: Literal["shop"] = "shop"
    users: PositiveInt = 3000
    seed: Seed = 0
    split: SplitRule = "paper"


class AmazonData(_Settings):
    """A category of the Amazon reviews, in `folder` or, without one, fetched (2014 only). edition:
    the year of the files, whose names and fields differ."""

    source: Literal["amazon"]
    category: str
    edition: Literal["2014", "2018", "2023"] = "2014"
    folder: Path | None = None
    mirrors: tuple[str, ...] = ()
    min_purchases: int = Field(0, ge=0)
    max_bad_lines: int = Field(0, ge=0)
    split: SplitRule = "paper"


class _LogRules(_Settings):
    """What is kept of a log, whatever it was read from."""

    where: str | None = Field(
        None, description="A SQL expression on columns; rows for which it is not true are left out."
    )
    drop_repeats: bool = Field(False, description="Leave out what was bought just before, too.")
    min_purchases: int = Field(0, ge=0, description="Keep the k-core: at least this many each.")
    min_user_purchases: int = Field(0, ge=0, description="Users with fewer are left out, once.")
    min_item_purchases: int = Field(0, ge=0, description="Items with fewer are left out, once.")
    unknown_share: float = Field(
        0.05, ge=0, le=1, description="Warn if more purchases name items the catalogue lacks."
    )
    max_bad_lines: int = Field(0, ge=0, description="Malformed lines to put up with.")
    split: SplitRule = "paper"


class TableData(_LogRules):
    """Your own tables, in any format that docs/data.md names.

    Sources are files, folders, globs, https:// addresses, addresses of databases (with sql), hf://
    names or "-" for standard input; several are one log. Without items, titles stand beside
    purchases. Columns go by name, or by number from 1 where there is no head. What is None about a
    dialect or about times is detected, and said."""

    source: Literal["table"]
    interactions: Sources
    items: Sources = ()
    sql: str | None = Field(None, description="The query for purchases.")
    items_sql: str | None = Field(None, description="The query for items.")
    user: str = "user"
    item: str = "item"
    time: str | None = "time"
    title: str = "title"
    item_in_items: str | None = None
    group: str | None = Field(None, description="Column that variants of one product share.")
    columns: tuple[str, ...] = Field((), description='Further columns of items; "*" for all.')
    list_separator: str | None = Field(
        None, description="What stands between items where a row holds a user's whole list."
    )
    delimiter: str | None = Field(None, description='Between columns: "," ";" "\t" "|" "::" …')
    encoding: str | None = Field(None, description="utf-8, utf-16, cp1252, latin-1, …")
    quote: str | None = Field(None, description='Around fields; "" for none.')
    header: bool | None = Field(None, description="Whether the first row names the columns.")
    decimal: Literal[".", ","] = "."
    items_delimiter: str | None = None
    items_encoding: str | None = None
    items_quote: str | None = None
    items_header: bool | None = None
    time_format: str | None = Field(None, description="How dates are spelled, as in strptime.")
    time_unit: Literal["s", "ms", "us", "ns", "none"] | None = None
    missing: tuple[str, ...] | None = Field(
        None, description="What stands for no value, in place of the usual words."
    )
    drop_leading_zeros: bool = Field(False, description="0042 and 42 are the same id.")
    keep_unbought: bool = True


PresetName = Literal[
    "hm",
    "instacart",
    "lastfm",
    "mind",
    "movielens-100k",
    "movielens-1m",
    "movielens-25m",
    "online-retail",
    "recbole",
    "retailrocket",
    "steam",
    "yelp",
]


class PresetData(_LogRules):
    """A public data set by its name, in a folder with the files as they are published
    (docs/data.md)."""

    source: Literal["preset"]
    preset: PresetName
    folder: Path


class ScratchModel(_Settings):
    """A Llama trained from zero. context: tokens that it can look back; networks: trained with
    seeds in a row, and their titles' probabilities averaged."""

    recipe: Literal["scratch"] = "scratch"
    vocabulary: PositiveInt = 8000
    layers: PositiveInt = 8
    width: PositiveInt = 512
    heads: PositiveInt = 8
    mlp_width: PositiveInt | None = None
    context: PositiveInt = 512
    networks: PositiveInt = 1

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ScratchModel:
        if self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of 2 x heads ({self.heads})")
        return self


class LoraModel(_Settings):
    """An adapter on a pretrained model. base: a hub name (ORG/NAME) or a folder; revision: of the
    hub, a branch, tag or commit; quantization: how the frozen weights are held; targets: the linear
    layers that get an adapter of this rank, scaled by alpha / rank."""

    recipe: Literal["lora"]
    base: Annotated[str, Field(min_length=1)]
    revision: str | None = None
    quantization: Literal["nf4", "none"] = "nf4"
    rank: PositiveInt = 16
    alpha: PositiveInt = 16
    dropout: Share = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class Training(_Settings):
    """How a model is trained. batch_tokens: tokens a step; dropout: after the embedding, attention
    and MLP blocks; attention_dropout: in the attention weights; agreement: how much it counts that
    two readings with different dropout agree (R-Drop), at twice the cost; clip: largest gradient.

    How histories differ from epoch to epoch: random_start, share of the users that begin at a
    random purchase; dropped, share of the purchases left out; reversed, share of the users read
    from the last purchase to the first; jitter, by how many places purchases move at most."""

    recipe: Literal["scratch"] = Field("scratch", exclude=True, repr=False)
    epochs: PositiveInt = 20
    batch_tokens: PositiveInt = 65536
    learning_rate: float = Field(1e-3, gt=0)
    warmup_steps: int = Field(200, ge=0)
    weight_decay: float = Field(0.1, ge=0)
    dropout: Share = 0.2
    attention_dropout: Share = 0.0
    agreement: float = Field(0.0, ge=0)
    random_start: float = Field(0.5, ge=0, le=1)
    dropped: Share = 0.0
    reversed: float = Field(0.0, ge=0, le=1)
    jitter: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0)
    validation_users: int = Field(1000, ge=0)


class LoraTraining(_Settings):
    """How an adapter is trained; the defaults are the published recipe (docs/protocol.md).

    batch: examples that a device reads at once, accumulation: how often before a step; sequence:
    tokens of an example at most, oldest purchases dropped whole; loss_on: every token, or the
    answer's alone; packing: examples one after the other instead of padded, with the same loss;
    gradient_checkpointing: "auto" only where memory asks for it; patience: epochs without a better
    validation loss before it stops; report_to: trackers (tensorboard, wandb, trackio)."""

    recipe: Literal["lora"] = Field("lora", exclude=True, repr=False)
    epochs: PositiveInt = 10
    batch: PositiveInt = 4
    accumulation: PositiveInt = 4
    learning_rate: float = Field(1e-4, gt=0)
    warmup_steps: int = Field(300, ge=0)
    optimizer: Literal["adamw-8bit", "adamw"] = "adamw-8bit"
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, gt=0)
    sequence: PositiveInt = 1024
    loss_on: Literal["all", "completion"] = "all"
    packing: bool = False
    gradient_checkpointing: Literal["auto", "always", "never"] = "always"
    compile: bool = False
    patience: PositiveInt = 3
    validation_users: int = Field(2000, ge=0)
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()


class Loading(_Settings):
    """How a model is taken from its folder. base: the folder of an adapter's base model, where it
    is not found by name; keep_adapters: beside the weights instead of merged into them; context:
    tokens of prompt and answer at most, where it is not what the model was trained with."""

    base: Path | None = None
    keep_adapters: bool = False
    quantization: Literal["nf4", "none"] = "none"
    context: PositiveInt | None = None


AS_IT_IS = Loading()


class Decoding(_Settings):
    """mode: "catalogue" writes titles that exist, "free" anything, "exact" scores every title that
    exists and keeps the best (slow, nothing is lost). cut: what too long a prompt loses: its oldest
    purchases, whole, or tokens on the left, instruction and all, as in the published system.
    batch_tokens: cache entries held at once, users x (prompt + steps x beams), what bounds memory;
    without it, what fits."""

    mode: Literal["catalogue", "free", "exact"] = "catalogue"
    beams: PositiveInt = 10
    returned: PositiveInt | None = None
    max_new_tokens: PositiveInt = 50
    length_penalty: float = 0.0
    cut: Literal["purchases", "left"] = "purchases"
    batch_tokens: PositiveInt | None = None
    shard_users: PositiveInt = 2048

    @model_validator(mode="after")
    def _returned_were_searched(self) -> Decoding:
        if self.returned is not None and self.returned > self.beams:
            raise ValueError(f"returned ({self.returned}) cannot exceed beams ({self.beams})")
        return self


class Index(_Settings):
    """How the catalogue is searched (retrieval/index.py says what each means); what is not set
    comes from the protocol, or is the usual."""

    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    marker: bool | None = None
    exact_first: bool | None = None
    k1: float | None = Field(None, ge=0)
    b: float | None = Field(None, ge=0, le=1)
    stopwords: str | None = None
    encoder: str | None = None
    prefixes: bool | None = None
    neighbours: Literal["auto", "exact", "hnsw", "ivf"] | None = None
    blend: Literal["rrf", "weighted"] | None = None
    weight: float | None = Field(None, ge=0, le=1)


class Ranking(_Settings):
    """From generated titles to a list of items; what is not set comes from the protocol."""

    per_query: PositiveInt | None = None
    fusion: Literal["best-score", "last", "beam-order", "rrf"] | None = None
    length: PositiveInt | None = None
    exclude_seen: bool | None = None
    cutoffs: tuple[PositiveInt, ...] | None = None
    segments: tuple[PositiveInt, PositiveInt] | None = None


class Transitions(_Settings):
    """The graph of what was bought near what (evaluation/baselines/transitions.py).

    window: purchases that far apart are joined, with weight fading^(gap - 1); degree_power: weights
    are divided by both items' degrees to this power; first_hop, second_hop: weights of what lies
    one step and two steps away. A user is the last `recent` items, weighted decay^0, decay^1, …
    from the last one back; similarity of titles takes these two as well."""

    window: PositiveInt = 8
    fading: float = Field(0.7, gt=0, le=1)
    degree_power: float = Field(0.1, ge=0, le=1)
    first_hop: float = Field(1.0, ge=0)
    second_hop: float = Field(0.1, ge=0)
    recent: PositiveInt = 10
    decay: float = Field(0.5, gt=0, le=1)


class Tuning(_Settings):
    """How a sentence encoder is taught on histories (retrieval/tuning.py). batch_users: users a
    step; candidates: titles that the next one is found among, the whole catalogue where it has no
    more; they bound memory, about 2.5 MB a title on a GPU with the encoder all-MiniLM-L6-v2;
    own_rate: the learning rate of what a title adds to the encoder's reading of it, 0 for nothing;
    own_dropout: of that; emphasis: a purchase counts as its history's length to this power."""

    epochs: PositiveInt = 5
    batch_users: PositiveInt = 256
    candidates: Annotated[int, Field(ge=2)] = 20_000
    learning_rate: float = Field(1e-3, gt=0)
    own_rate: float = Field(1e-3, ge=0)
    own_dropout: Share = 0.5
    emphasis: float = Field(0.5, ge=0, le=2)


class SASRec(_Settings):
    """A small transformer over items (evaluation/baselines/sasrec.py). networks: trained with
    seeds in a row, their log-probabilities averaged; text: whether title vectors are part of an
    item's vector; batch_users: users a step; length: purchases it looks back; emphasis: as in
    `Tuning`."""

    networks: PositiveInt = 1
    layers: PositiveInt = 2
    width: PositiveInt = 64
    heads: PositiveInt = 2
    dropout: Share = 0.4
    length: PositiveInt = 50
    text: bool = True
    epochs: PositiveInt = 12
    batch_users: PositiveInt = 128
    learning_rate: float = Field(2e-3, gt=0)
    emphasis: float = Field(0.5, ge=0, le=2)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> SASRec:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


SignalName = Literal["transitions", "two-step", "text", "tuned", "words", "sasrec"]
FusionRule = Literal["log-linear", "trees", "rank"]


class Signals(_Settings):
    """Rankings that need no language model, and their fusion with it. use: which ones; without any
    there is no fusion; fusion: by fitted weights, by fitted trees (extra "trees"), or by ranks
    alone; encoder: what makes vectors of titles (retrieval/encoders.py), and is taught for "tuned";
    length: items that each signal brings to the fusion; validation_users: weights or trees are
    fitted on as many; rehearsal: fitted not on the paper split's few validation users, but on
    everybody's second-last purchase, for which all is trained a second time without it."""

    use: tuple[SignalName, ...] = ()
    fusion: FusionRule = "log-linear"
    encoder: str = "all-MiniLM-L6-v2"
    length: PositiveInt = 200
    validation_users: PositiveInt = 4000
    rehearsal: bool = False
    transitions: Transitions = Transitions()
    two_step: Transitions = Transitions(degree_power=0.3, first_hop=0.0, second_hop=1.0)
    tuning: Tuning = Tuning()
    sasrec: SASRec = SASRec()


def _recipe(settings: Any) -> Any:
    """What a section of model settings is for; without the word, training from zero."""
    if isinstance(settings, Mapping):
        return settings.get("recipe", "scratch")
    return getattr(settings, "recipe", "scratch")


ModelSettings = ScratchModel | LoraModel
TrainingSettings = Training | LoraTraining


class Experiment(_Settings):
    """Everything that `gloss run` needs to know. The model's recipe says what `training` holds."""

    name: str
    seed: Seed = 0
    protocol: Literal["fair", "paper"] = "fair"
    data: Annotated[ShopData | AmazonData | TableData | PresetData, Field(discriminator="source")]
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
    signals: Signals = Signals()
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
