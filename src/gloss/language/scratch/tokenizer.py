"""The tokenizer of a model from zero: a byte-level BPE that is learned from the catalogue's titles.

It has one special token, the newline. Titles never hold one (they are split at white space), so a
history is plain text, one title a line; and no title, however hostile, can be mistaken for a
special token.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["train_tokenizer"]

_NEWLINE = "\n"


def train_tokenizer(titles: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens.

    Any text can be encoded and comes back unchanged; beginning, end and padding are the newline.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    newline = AddedToken(_NEWLINE, special=True, normalized=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[newline],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(titles, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_NEWLINE,
        eos_token=_NEWLINE,
        pad_token=_NEWLINE,
        clean_up_tokenization_spaces=False,
    )
