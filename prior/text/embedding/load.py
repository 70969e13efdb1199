"""Embedders by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from prior.text.embedding.embedder import TorchEmbedder
from prior.text.locate import split_name

KINDS = ("mineclip", "steve1", "open_clip", "clip")
_FORMS = "mineclip:PATH/attn.pth, steve1:PATH/attn.pth, open_clip:MODEL[/TAG or PATH], or a folder of `vpt train-clip`"


def load_embedder(name: str | Path, device: str = "cpu") -> TorchEmbedder:
    """``mineclip:PATH`` (MineCLIP's published file), ``steve1:PATH`` (the same, as STEVE-1's published weights want it),
    ``open_clip:MODEL[/TAG or PATH]``, ``clip:FOLDER`` or a folder, which `vpt train-clip` wrote.

    Raises ValueError for anything else; a kind that is nearly right is answered with the right one.
    """
    text = str(name)
    kind, rest = split_name(text)
    if not kind:
        kind = "clip"
        if Path(text).is_file():
            kind = "mineclip"
        elif not Path(text).is_dir():
            near = difflib.get_close_matches(text, KINDS, 1)
            hint = f" Did you mean {near[0]}:...?" if near else ""
            raise ValueError(f"unknown encoder {text!r}: no such file or folder.{hint} Expected {_FORMS}")
    if kind in ("mineclip", "steve1"):
        from prior.text.embedding.mineclip_files import mineclip_embedder

        return mineclip_embedder(Path(rest), device, goals=kind == "steve1")
    if kind == "open_clip":
        from prior.text.embedding.open_clip_models import open_clip_embedder

        return open_clip_embedder(text, device)
    if kind == "clip":
        from prior.text.embedding.small_clip import clip_embedder

        return clip_embedder(Path(rest), device)
    near = difflib.get_close_matches(kind, KINDS, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown encoder {text!r}: there is no kind {kind!r}.{hint} Expected {_FORMS}")
