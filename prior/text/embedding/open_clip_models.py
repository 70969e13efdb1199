"""Any model of open_clip as an embedder: each frame by its image network, a clip by the mean of its frames.

Luo et al. 2021, "CLIP4Clip" (arXiv 2104.08860), section 3.3: the mean of normalised frames asks for no training. Frames are
squeezed to the model's size as a whole; open_clip itself would cut off the sides, where games have things, too.
"""

from __future__ import annotations

import difflib
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.files import sha256_file
from data.frame_inputs import InputShape
from prior.text.embedding.clip_modules import open_clip
from prior.text.embedding.embedder import TorchEmbedder
from prior.text.embedding.tokens import tokens_with

PREFIX = "open_clip:"
RATE = 20


class OpenClipTowers(nn.Module):
    """See :class:`prior.text.embedding.embedder.Towers`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def features(self, images: Tensor) -> Tensor:
        out: Tensor = self.model.encode_image(images, normalize=True)
        return out

    def pooled(self, features: Tensor) -> Tensor:
        return features.mean(1)

    def texts(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.model.encode_text(tokens)
        return out


def open_clip_embedder(name: str, device: str = "cpu") -> TorchEmbedder:
    """name: ``open_clip:MODEL``, ``open_clip:MODEL/TAG`` with one of the model's published weights (downloaded by open_clip),
    or ``open_clip:MODEL/PATH`` with a file of them. Without weights it starts anew, with a warning.

    Raises ValueError for a model or weights that open_clip does not know, and for a file that is not this model's.
    """
    package = open_clip()
    model_name, _, weights = name.removeprefix(PREFIX).partition("/")
    _known(model_name, package.list_models(), f"{name}: open_clip has no model")
    if weights and not Path(weights).is_file():
        tags = package.list_pretrained_tags_by_model(model_name)
        _known(weights, tags, f"{name}: there is no such file, and for {model_name} open_clip has no weights")
    elif weights:
        name = f"{PREFIX}{model_name}/{Path(weights).absolute()}"  # which holds wherever it is asked for
    else:
        warnings.warn(f"{name}: without weights this model knows nothing; give {name}/TAG or {name}/FILE", stacklevel=2)
    try:
        model = package.create_model(model_name, weights or None, device=device, pretrained_text=False)
    except Exception as error:  # whatever a file or a download leads to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{name}: the weights cannot be loaded ({reason:.200}); are they another model's, or damaged?"
        ) from error
    looks = package.model.get_model_preprocess_cfg(model)
    size = looks["size"] if isinstance(looks["size"], (tuple, list)) else (looks["size"],) * 2
    with torch.inference_mode():
        blank = torch.zeros(1, 3, *size, device=device)
        dims = OpenClipTowers(model.eval()).features(blank).shape[-1]
    return TorchEmbedder(
        name,
        _key(model_name, weights, model),
        OpenClipTowers(model),
        _Tokens(package.get_tokenizer(model_name), package),
        InputShape((int(size[0]), int(size[1])), "area", RATE),
        (dims, dims),
        mean=looks["mean"],
        std=looks["std"],
        device=device,
    )


class _Tokens:
    """A model's own tokens, with a warning where the byte-pair kind cuts a text."""

    def __init__(self, tokenizer: Any, package: Any) -> None:
        self.tokenizer, self.plain = tokenizer, isinstance(tokenizer, package.SimpleTokenizer)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        if self.plain:
            return tokens_with(self.tokenizer, texts, self.tokenizer.context_length)
        out: Tensor = self.tokenizer(list(texts))
        return out


def _key(model_name: str, weights: str, model: Any) -> str:
    if not weights:  # made at random: the numbers themselves tell them apart
        some = torch.cat([p.detach().flatten()[:64].float().cpu() for p in model.parameters()])
        return f"open_clip {model_name} {hashlib.sha256(some.numpy().tobytes()).hexdigest()}"
    return f"open_clip {model_name} {sha256_file(weights) if Path(weights).is_file() else weights}"


def _known(name: str, names: Sequence[str], message: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{message} {name!r}{hint} (there are {', '.join(sorted(names)[:8])} and others)")
