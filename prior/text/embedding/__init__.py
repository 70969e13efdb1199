"""The space that texts and clips of play share: MineCLIP, a model of open_clip, or a small one trained here (docs/text.md)."""
