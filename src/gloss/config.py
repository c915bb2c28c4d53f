"""The sections of an experiment as typed settings, one for each stage.

Knows settings; knows nothing of what they do, nor of files (experiment/loading.py). The settings of
a ranker or retriever stand in its own room, and experiment/settings.py puts all sections together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)

__all__ = [
    "AS_IT_IS",
    "AmazonData",
    "Decoding",
    "Loading",
    "LoraModel",
    "LoraTraining",
    "ModelSettings",
    "Ranking",
    "ScratchModel",
    "Seed",
    "Settings",
    "Share",
    "ShopData",
    "TableData",
    "TitleFusion",
    "Training",
    "TrainingSettings",
]

Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Settings(BaseModel):
    """The base of every section: unknown settings are errors, and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ShopData(Settings):
    """The built-in synthetic shop."""

    source: Literal["shop"] = "shop"
    users: PositiveInt = 3000
    seed: Seed = 0
    split: Literal["paper", "leave-one-out"] = "paper"


class AmazonData(Settings):
    """A category of the Amazon files of 2014, in `folder` or, without one, fetched."""

    source: Literal["amazon"]
    category: str
    folder: Path | None = None
    mirrors: tuple[str, ...] = ()
    max_bad_lines: int = Field(0, ge=0)
    split: Literal["paper", "leave-one-out"] = "paper"


class TableData(Settings):
    """Your own tables; see `gloss prepare table --help` for the columns."""

    source: Literal["table"]
    interactions: Path
    items: Path
    user: str = "user"
    item: str = "item"
    time: str | None = "time"
    title: str = "title"
    item_in_items: str | None = None
    min_purchases: int = Field(0, ge=0)
    max_bad_lines: int = Field(0, ge=0)
    split: Literal["paper", "leave-one-out"] = "paper"


class ScratchModel(Settings):
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


class LoraModel(Settings):
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


class Training(Settings):
    """How a model is trained. batch_tokens: tokens a step; dropout: after the embedding, attention
    and MLP blocks; attention_dropout: in the attention weights; r_drop: how much it counts that
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
    r_drop: float = Field(0.0, ge=0)
    random_start: float = Field(0.5, ge=0, le=1)
    dropped: Share = 0.0
    reversed: float = Field(0.0, ge=0, le=1)
    jitter: float = Field(0.0, ge=0)
    clip: float = Field(1.0, gt=0)
    validation_users: int = Field(1000, ge=0)


class LoraTraining(Settings):
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


class Loading(Settings):
    """How a model is taken from its folder. base: the folder of an adapter's base model, where it
    is not found by name; keep_adapters: beside the weights instead of merged into them; context:
    tokens of prompt and answer at most, where it is not what the model was trained with."""

    base: Path | None = None
    keep_adapters: bool = False
    quantization: Literal["nf4", "none"] = "none"
    context: PositiveInt | None = None


AS_IT_IS = Loading()


class Decoding(Settings):
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


TitleFusion = Literal["best-score", "last", "beam-order", "reciprocal-rank"]


class Ranking(Settings):
    """From generated titles to a list of items; what is not set comes from the protocol."""

    per_query: PositiveInt | None = None
    fusion: TitleFusion | None = None
    length: PositiveInt | None = None
    exclude_seen: bool | None = None
    cutoffs: tuple[PositiveInt, ...] | None = None
    segments: tuple[PositiveInt, PositiveInt] | None = None


ModelSettings = ScratchModel | LoraModel
TrainingSettings = Training | LoraTraining
