"""The sections of an experiment as typed settings, one for each stage.

Knows settings; knows nothing of what they do, nor of files (experiment/loading.py). The settings of
a ranker or retriever stand in its own room, and experiment/settings.py puts all sections together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from gloss.choices import Cut, DecodingMode, Engine, Quantization, SplitRule

__all__ = [
    "AS_IT_IS",
    "AmazonData",
    "Decoding",
    "Distillation",
    "Epochs",
    "Heads",
    "HistoryLength",
    "Layers",
    "LearningRate",
    "ListLength",
    "Loading",
    "LogRules",
    "LoraModel",
    "LoraTraining",
    "ModelSettings",
    "Networks",
    "PresetData",
    "PresetName",
    "Ranking",
    "ScratchModel",
    "Seed",
    "Settings",
    "Share",
    "ShopData",
    "TableData",
    "TitleFusion",
    "Tokens",
    "Training",
    "TrainingSettings",
    "Users",
    "Width",
]

# Bounds are far above anything useful: they refuse typing errors before memory or time does.
MAX_USERS = 10**9
MAX_LENGTH = 10**5
MAX_STEPS = 10**7

Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Users = Annotated[int, Field(ge=1, le=MAX_USERS)]
ListLength = Annotated[int, Field(ge=1, le=MAX_LENGTH)]
HistoryLength = Annotated[int, Field(ge=1, le=MAX_LENGTH)]
Tokens = Annotated[int, Field(ge=1, le=2**17)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Networks = Annotated[int, Field(ge=1, le=64)]
Layers = Annotated[int, Field(ge=1, le=128)]
Heads = Annotated[int, Field(ge=1, le=256)]
Width = Annotated[int, Field(ge=2, le=16_384)]


class Settings(BaseModel):
    """The base of every section: unknown settings are errors, and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _as_sources(value: Any) -> Any:
    """One source or several, as the texts that were typed."""
    several = value if isinstance(value, list | tuple) else [value]
    return tuple(str(each) if isinstance(each, Path) else each for each in several)


Sources = Annotated[tuple[str, ...], BeforeValidator(_as_sources)]
Purchases = Annotated[int, Field(ge=0, le=MAX_USERS)]

_SPLIT: Any = Field(
    "paper", description="Who trains on the second-last purchase (docs/protocol.md)."
)
_COLD_ITEMS: Any = Field(
    None,
    gt=0,
    lt=1,
    description="Share of the items that nothing is trained on and no catalogue holds, 0.1 say; "
    "`gloss run` then adds them as `gloss update` does, and measures how they are found.",
)
_COLD_SEED: Any = Field(0, description="Of the draw of these items.")
_BAD_LINES: Any = Field(0, description="Malformed lines that are left out; more are an error.")
_K_CORE: Any = Field(
    0, description="Keep the k-core: users and items with at least so many purchases."
)


class ShopData(Settings):
    """The built-in synthetic shop."""

    source: Literal["shop"] = Field("shop", description="Where the data come from.")
    users: Users = Field(3000, description="How many people buy there.")
    seed: Seed = Field(0, description="Another seed, another shop.")
    repeats: Share = Field(
        0.0,
        description="Share of the purchases that repeat an earlier one of the same user: 0.5 is "
        "like a grocer's.",
    )
    split: SplitRule = _SPLIT
    cold_items: float | None = _COLD_ITEMS
    cold_seed: Seed = _COLD_SEED


class AmazonData(Settings):
    """A category of the Amazon reviews."""

    source: Literal["amazon"] = Field(description="Where the data come from.")
    category: str = Field(description="beauty, toys, sports, or a name in the original files.")
    edition: Literal["2014", "2018", "2023"] = Field(
        "2014", description="The year of the files, whose names and fields differ."
    )
    folder: Path | None = Field(
        None, description="The folder of the original files (default: downloaded, 2014 only)."
    )
    mirrors: tuple[str, ...] = Field((), description="Addresses to download from.")
    min_purchases: Purchases = _K_CORE
    max_bad_lines: Purchases = _BAD_LINES
    split: SplitRule = _SPLIT
    cold_items: float | None = _COLD_ITEMS
    cold_seed: Seed = _COLD_SEED


class LogRules(Settings):
    """What is kept of a log, whatever it was read from."""

    source: str = Field(description="Where the data come from.")
    where: str | None = Field(
        None,
        description="A SQL expression on columns, such as \"event_type = 'purchase' AND quantity > "
        '0"; rows for which it is not true are left out.',
    )
    drop_repeats: bool = Field(
        False, description="Leave out purchases of what the user bought just before."
    )
    min_purchases: Purchases = _K_CORE
    min_user_purchases: Purchases = Field(0, description="Leave out users with fewer, once.")
    min_item_purchases: Purchases = Field(0, description="Leave out items with fewer, once.")
    unknown_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Warn if more of the purchases name items that the catalogue lacks.",
    )
    max_bad_lines: Purchases = _BAD_LINES
    split: SplitRule = _SPLIT
    cold_items: float | None = _COLD_ITEMS
    cold_seed: Seed = _COLD_SEED


class TableData(LogRules):
    """Your own tables, in any format that docs/data.md names.

    Sources are files, folders, globs, https:// addresses, addresses of databases, hf:// names or
    "-" for standard input; several are one log. Columns go by name, or by number from 1 where there
    is no head. What is not set about how files and times are written is detected."""

    source: Literal["table"] = Field(description="Where the data come from.")
    interactions: Sources = Field(description="The sources of the purchases.")
    items: Sources = Field(
        (), description="The sources of the titles (default: they stand beside the purchases)."
    )
    sql: str | None = Field(None, description="Query for the purchases of a database.")
    items_sql: str | None = Field(None, description="Query for the items of a database.")
    user: str = Field("user", description="Column of the user, or of the session.")
    item: str = Field("item", description="Column of the item.")
    time: str | None = Field("time", description="Column of the time; null: the rows are in order.")
    title: str = Field("title", description="Column of the title.")
    item_in_items: str | None = Field(
        None, description="Column of the item in `items`, if it differs."
    )
    group: str | None = Field(
        None, description="Column of items that variants of one product share."
    )
    columns: tuple[str, ...] = Field(
        (), description='Further columns of items that are kept; "*" for all.'
    )
    list_separator: str | None = Field(
        None, description="What stands between items where a row holds a user's whole list."
    )
    delimiter: str | None = Field(None, description='Between columns: "," ";" tab "|" "::" …')
    encoding: str | None = Field(None, description="utf-8, utf-16, cp1252, latin-1, …")
    quote: str | None = Field(None, description='Around fields; "" if a quote is a letter.')
    header: bool | None = Field(None, description="Whether the first row names the columns.")
    decimal: Literal[".", ","] = Field(".", description="The decimal point of numbers.")
    items_delimiter: str | None = Field(None, description="`delimiter`, of items alone.")
    items_encoding: str | None = Field(None, description="`encoding`, of items alone.")
    items_quote: str | None = Field(None, description="`quote`, of items alone.")
    items_header: bool | None = Field(None, description="`header`, of items alone.")
    time_format: str | None = Field(
        None, description='How dates are spelled, such as "%d/%m/%Y %H:%M".'
    )
    time_unit: Literal["s", "ms", "us", "ns", "none"] | None = Field(
        None, description="The unit of times that are numbers; none: plain numbers."
    )
    missing: tuple[str, ...] | None = Field(
        None, description='Words for no value, in place of "", NULL, nan, <NA> and \\N.'
    )
    drop_leading_zeros: bool = Field(False, description="0042 and 42 are the same id.")
    keep_unbought: bool = Field(True, description="Whether items that nobody bought stay.")


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


class PresetData(LogRules):
    """A public data set by its name (docs/data.md)."""

    source: Literal["preset"] = Field(description="Where the data come from.")
    preset: PresetName = Field(description="The name of the data set.")
    folder: Path = Field(description="The folder with its files as they are published.")


class ScratchModel(Settings):
    """A Llama that is trained from zero on the histories.

    What is not set of `vocabulary`, `layers`, `width` and `heads` follows the data and the machine;
    the defaults below are those without data (docs/start/your-own-shop.md)."""

    recipe: Literal["scratch"] = Field(
        "scratch", description="Train a model from zero, or an adapter on a pretrained one."
    )
    vocabulary: int = Field(
        8000, ge=1, le=1_000_000, description="Tokens of the tokenizer, trained on the titles."
    )
    layers: Layers = Field(8, description="Transformer blocks.")
    width: Width = Field(512, description="Size of a hidden state; a multiple of 2 x `heads`.")
    heads: Heads = Field(8, description="Attention heads of a block.")
    mlp_width: int | None = Field(
        None, ge=1, le=65_536, description="Size of the MLP's hidden layer (default: 4 x `width`)."
    )
    context: Tokens = Field(512, description="Tokens of history and answer at most.")
    networks: Networks = Field(
        1,
        description="Networks trained with successive seeds, whose title probabilities are "
        "averaged.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ScratchModel:
        if self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of 2 x heads ({self.heads})")
        return self


class LoraModel(Settings):
    """A LoRA adapter on a pretrained model."""

    recipe: Literal["lora"] = Field(
        description="Train a model from zero, or an adapter on a pretrained one."
    )
    base: str = Field(
        min_length=1, description="The pretrained model: ORG/NAME on the hub, or a folder."
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit on the hub (default: the newest)."
    )
    quantization: Quantization = Field(
        "nf4", description="How the frozen weights are held: in 4 bits, or in bf16."
    )
    rank: int = Field(16, ge=1, le=4096, description="Rank of the adapter's matrices.")
    alpha: int = Field(16, ge=1, le=65_536, description="The adapter is scaled by alpha / `rank`.")
    dropout: Share = Field(0.0, description="Dropout before the adapter.")
    targets: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="The linear layers that get an adapter.",
    )


class Training(Settings):
    """How a model is trained from zero (`model.recipe: scratch`).

    What is not set of `epochs`, `batch_tokens`, `learning_rate` and `warmup_steps` follows the data
    and the machine; the defaults below are those without data (docs/start/your-own-shop.md)."""

    recipe: Literal["scratch"] = Field("scratch", exclude=True, repr=False)
    epochs: Epochs = Field(20, description="Passes over all histories.")
    batch_tokens: int = Field(65_536, ge=1, le=2**24, description="Tokens in an optimizer step.")
    learning_rate: LearningRate = Field(1e-3, description="The highest learning rate.")
    warmup_steps: int = Field(
        200, ge=0, le=MAX_STEPS, description="Steps in which the learning rate rises."
    )
    weight_decay: float = Field(0.1, ge=0, le=10, description="Weight decay of AdamW.")
    dropout: Share = Field(
        0.2, description="Dropout after the embedding and after attention and MLP blocks."
    )
    attention_dropout: Share = Field(0.0, description="Dropout in the attention weights.")
    r_drop: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of R-Drop: the KL divergence of two forward passes with different "
        "dropout, at twice the cost.",
    )
    random_start: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the histories that begin at a random purchase, anew each epoch.",
    )
    dropped: Share = Field(
        0.0, description="Share of the purchases that are left out, anew each epoch."
    )
    reversed: float = Field(
        0.0, ge=0, le=1, description="Share of the histories read from the last purchase back."
    )
    jitter: float = Field(
        0.0, ge=0, le=1000, description="Places by which a purchase moves in its history at most."
    )
    clip: float = Field(1.0, gt=0, le=1e6, description="Largest norm of the gradient.")
    validation_users: int = Field(
        1000, ge=0, le=MAX_USERS, description="Users whose loss is measured after each epoch."
    )


class Distillation(Settings):
    """What a model from zero learns from rankers besides the histories.

    In each epoch, a part of every history is continued by titles that the teachers draw one after
    the other; these titles are learned. Score of a title: the weighted sum of the teachers'
    log-probabilities."""

    teachers: tuple[str, ...] = Field(
        (), description="The rankers that teach; they are trained first. Without any, none."
    )
    weights: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(
        (), description="The weight of each teacher's log-probabilities (default: 1 each)."
    )
    titles: int = Field(
        4, ge=1, le=100, description="Titles that the teachers draw for a history in an epoch."
    )
    candidates: int = Field(
        64, ge=1, le=MAX_LENGTH, description="A title is drawn from so many best ones."
    )
    histories: float = Field(
        0.33, ge=0, le=1, description="Share of the histories that an epoch reads as they are."
    )
    bought: bool | None = Field(
        None,
        description="Whether the teachers draw what was bought before, too (default: where the "
        "data repeat and lists hold it).",
    )

    @model_validator(mode="after")
    def _a_weight_for_each_teacher(self) -> Distillation:
        if self.weights and len(self.weights) != len(self.teachers):
            raise ValueError(
                f"{len(self.teachers)} teachers and {len(self.weights)} weights: name as many "
                "weights as teachers, or none"
            )
        return self


class LoraTraining(Settings):
    """How an adapter is trained (`model.recipe: lora`); the defaults are the published recipe
    (docs/protocol.md)."""

    recipe: Literal["lora"] = Field("lora", exclude=True, repr=False)
    epochs: Epochs = Field(10, description="Passes over all examples at most.")
    batch: int = Field(4, ge=1, le=65_536, description="Examples in a forward pass on a device.")
    accumulation: int = Field(
        4,
        ge=1,
        le=65_536,
        description="Batches of an optimizer step, those of all processes together.",
    )
    learning_rate: LearningRate = Field(1e-4, description="The highest learning rate.")
    warmup_steps: int = Field(
        300, ge=0, le=MAX_STEPS, description="Steps in which the learning rate rises."
    )
    optimizer: Literal["adamw-8bit", "adamw"] = Field(
        "adamw-8bit", description="AdamW with states of 8 bits (on a GPU) or of 32."
    )
    weight_decay: float = Field(0.01, ge=0, le=10, description="Weight decay of AdamW.")
    clip: float = Field(1.0, gt=0, le=1e6, description="Largest norm of the gradient.")
    sequence: Tokens = Field(
        1024,
        description="Tokens of an example at most; longer ones lose their oldest purchases.",
    )
    loss_on: Literal["all", "completion"] = Field(
        "all", description="Tokens that carry loss: all of them, or the answer's alone."
    )
    packing: bool = Field(
        False, description="Examples one after the other instead of padded, with the same loss."
    )
    gradient_checkpointing: Literal["auto", "always", "never"] = Field(
        "always", description="Compute activations twice; auto: only where memory requires it."
    )
    compile: bool = Field(False, description="Compile the model with torch.compile.")
    patience: int = Field(
        3, ge=1, le=10_000, description="Epochs without a better validation loss before it stops."
    )
    validation_users: int = Field(
        2000, ge=0, le=MAX_USERS, description="Users whose loss is measured after each epoch."
    )
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        (), description="Experiment trackers to report to."
    )


class Loading(Settings):
    """How a model is loaded from its folder."""

    base: Path | None = Field(
        None, description="The folder of an adapter's base model (default: found by its name)."
    )
    keep_adapters: bool = Field(
        False, description="Keep an adapter apart instead of merging it into the weights."
    )
    quantization: Quantization = Field("none", description="How the weights are held.")
    context: Tokens | None = Field(
        None,
        description="Tokens of prompt and answer at most (default: as it was trained).",
    )
    engine: Engine = Field(
        "gloss", description="Who runs the model: our own search, or vLLM (docs/howto/engines.md)."
    )


AS_IT_IS = Loading()


class Decoding(Settings):
    """How a model writes titles."""

    mode: DecodingMode = Field(
        "catalogue",
        description="catalogue: beam search over the titles that exist; free: over any text; "
        "exact: score every title that exists and keep the best (slow, without search errors).",
    )
    beams: int = Field(10, ge=1, le=1000, description="Beams of the search.")
    returned: int | None = Field(
        None, ge=1, le=1000, description="Titles kept for a user (default: as many as `beams`)."
    )
    max_new_tokens: int = Field(
        50, ge=1, le=8192, description="Tokens of a title at most, where `mode` is free."
    )
    length_penalty: float = Field(
        0.0,
        ge=-10,
        le=10,
        description="A title's score is its log-probability / tokens ^ length_penalty: with 0 its "
        "probability, with 1 the mean over its tokens.",
    )
    cut: Cut = Field(
        "purchases",
        description="What a prompt that is too long loses: purchases: whole oldest purchases; "
        "left: tokens on the left, instruction included, as in the published system.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=1,
        le=2**40,
        description="Cache entries held at once, users x (prompt + steps x beams), which bounds "
        "memory (default: what fits).",
    )
    shard_users: Users = Field(
        2048,
        description="Users in a file: what an interrupted run repeats at most.",
    )

    @model_validator(mode="after")
    def _returned_were_searched(self) -> Decoding:
        if self.returned is not None and self.returned > self.beams:
            raise ValueError(f"returned ({self.returned}) cannot exceed beams ({self.beams})")
        return self


TitleFusion = Literal["best-score", "last", "beam-order", "reciprocal-rank"]


class Ranking(Settings):
    """From generated titles to a list of items; what is not set comes from the protocol."""

    per_query: ListLength | None = Field(None, description="Items retrieved for each title.")
    fusion: TitleFusion | None = Field(
        None,
        description="How the items of several titles are joined: by their best score, by the last "
        "title that found them, by beam and then score, or by reciprocal rank.",
    )
    length: ListLength | None = Field(None, description="Items in a list.")
    exclude_seen: bool | None = Field(
        None,
        description="Leave out items that the user has bought already (default: as the protocol "
        "does; fair keeps them where 5 % of the validation answers or more are such items).",
    )
    fills_up: bool | None = Field(
        None, description="End lists that are too short with the items that are bought most."
    )
    cutoffs: tuple[ListLength, ...] | None = Field(
        None, min_length=1, description="List lengths to measure at."
    )
    segments: tuple[HistoryLength, HistoryLength] | None = Field(
        None, description="Most purchases of a cold and of a regular user."
    )


ModelSettings = ScratchModel | LoraModel
TrainingSettings = Training | LoraTraining
