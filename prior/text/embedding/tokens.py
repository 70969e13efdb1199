"""Texts as CLIP's tokens, with open_clip's byte-pair vocabulary (Radford et al. 2021, arXiv 2103.00020, section 2.4)."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prior.text.embedding.clip_modules import open_clip

CONTEXT = 77
"""Tokens that CLIP's text networks read, with one at the start and one at the end."""
VOCABULARY = 49408

Cleaning = Literal["open_clip", "mineclip"]
"""How texts are tidied before they are cut up. ``open_clip`` also mends broken characters and HTML; ``mineclip`` does what
MineCLIP's tokenizer (Hugging Face's) does: normal form C, single spaces, small letters."""


def tokens_of(
    texts: Sequence[str], context: int = CONTEXT, cleaning: Cleaning = "open_clip", warn: bool = True
) -> Tensor:
    """int64 (N, context), filled up with 0. What is too long is cut, with a warning; an empty text is two tokens."""
    return tokens_with(_tokenizer(cleaning), texts, context, warn)


def tokens_with(tokenizer: Any, texts: Sequence[str], context: int, warn: bool = True) -> Tensor:
    """The same with a given tokenizer of open_clip's byte-pair kind."""
    tokens = torch.zeros(len(texts), context, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text)
        if warn and len(ids) > context - 2:
            kept = " ".join(tokenizer.decode(ids[: context - 2]).split()[-8:])
            warnings.warn(
                f"a text of {len(ids)} tokens was cut to the {context - 2} that the model reads: of {text[:40]!r} ... is kept "
                f"what ends with {kept!r}",
                stacklevel=3,
            )
        ids = [tokenizer.sot_token_id, *ids[: context - 2], tokenizer.eot_token_id]
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens


@lru_cache(maxsize=2)
def _tokenizer(cleaning: Cleaning) -> Any:
    return open_clip().tokenizer.SimpleTokenizer() if cleaning == "open_clip" else _MineclipTokenizer()


class _MineclipTokenizer:
    """Hugging Face's way with the same vocabulary: where a text spells out the marks of its ends, they are such marks."""

    marks: ClassVar = {"<|startoftext|>": 49406, "<|endoftext|>": 49407}

    def __init__(self) -> None:
        self._plain = open_clip().tokenizer.SimpleTokenizer()
        self._plain.clean_fn = _mineclip_clean
        for mark in ("<start_of_text>", "<end_of_text>"):  # open_clip's own marks, here words like others
            del self._plain.cache[mark]
        words = self._plain.pat
        self._plain.pat = open_clip().tokenizer.re.compile(
            words.pattern.removeprefix("<start_of_text>|<end_of_text>|"), words.flags
        )
        self.sot_token_id, self.eot_token_id = self.marks.values()
        self.decode = self._plain.decode

    def encode(self, text: str) -> list[int]:
        pieces = re.split("(" + "|".join(map(re.escape, self.marks)) + ")", text)
        return [
            one
            for piece in pieces
            for one in ([self.marks[piece]] if piece in self.marks else self._plain.encode(piece))
        ]


def _mineclip_clean(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()
