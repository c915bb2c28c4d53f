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
    model_validator,
)

from gloss.choices import Cut, DecodingMode, Quantization

__all__ = [
    "AS_IT_IS",
    "AmazonData",
    "Decoding",
    "Epochs",
    "Heads",
    "HistoryLength",
    "Layers",
    "LearningRate",
    "ListLength",
    "Loading",
    "LoraModel",
    "LoraTraining",
    "ModelSettings",
    "Networks",
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


class ShopData(Settings):
    """The built-in synthetic shop."""

    source: Literal["shop"] = "shop"
    users: Users = 3000
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
    """A Llama that is trained from zero on the histories."""

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
    """How a model is trained from zero (`model.recipe: scratch`)."""

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


class LoraTraining(Settings):
    """How an adapter is trained (`model.recipe: lora`); the defaults are the published recipe
    (docs/protocol.md)."""

    recipe: Literal["lora"] = Field("lora", exclude=True, repr=False)
    epochs: Epochs = Field(10, description="Passes over all examples at most.")
    batch: int = Field(4, ge=1, le=65_536, description="Examples in a forward pass on a device.")
    accumulation: int = Field(
        4, ge=1, le=65_536, description="Forward passes before an optimizer step."
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
        None, description="Leave out items that the user has bought already."
    )
    cutoffs: tuple[ListLength, ...] | None = Field(
        None, min_length=1, description="List lengths to measure at."
    )
    segments: tuple[HistoryLength, HistoryLength] | None = Field(
        None, description="Most purchases of a cold and of a regular user."
    )


ModelSettings = ScratchModel | LoraModel
TrainingSettings = Training | LoraTraining
