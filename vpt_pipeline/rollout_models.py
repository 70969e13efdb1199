"""Weights that last from one episode to the next where a process plays several.

An agent is made anew for each episode; what it only reads, the weights, is loaded once. So an episode cannot depend on the
one before it: the same weights, a new memory, new dice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from vpt_pipeline.progress import say

if TYPE_CHECKING:
    from prior.policy import Policy
    from prior.text.follower import Follower
    from search_agent.demos import DemoSet
    from search_agent.encoder import Encoder


class Models:
    """Holds what was loaded last, and gives it again as long as its files are what they were."""

    def __init__(self) -> None:
        self._key: object = None
        self._held: Any = None
        self._told: set[str] = set()

    def tell(self, problems: Iterable[str]) -> None:
        """Say what is wrong with a set, once for all episodes."""
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                say(f"[yellow]cannot be used:[/yellow] {escape(problem)}")

    def policy(self, source: str) -> Policy:
        """Of :func:`prior.checkpoint.from_pretrained`."""
        from prior.checkpoint import from_pretrained
        from prior.locate import find_model

        return self._get(("policy", source), find_model(source).all, lambda: from_pretrained(source))  # type: ignore[no-any-return]

    def follower(self, folder: Path) -> Follower:
        """Of :func:`prior.text.follower.load_follower`."""
        from prior.text.follower import load_follower
        from prior.text.locate import embedder_of, split_name

        embedder = Path(split_name(embedder_of(folder)[0])[1])
        files = [*folder.iterdir(), *(embedder.iterdir() if embedder.is_dir() else [embedder])]
        return self._get(("follower", folder), files, lambda: load_follower(folder))  # type: ignore[no-any-return]

    def encoder(self, demos: DemoSet) -> Encoder:
        """Of :func:`search_agent.session.encoder_of`: the model that made a set's latents."""
        from search_agent.session import encoder_of, model_of

        return self._get(("encoder", demos.info), model_of(demos).all, lambda: encoder_of(demos))  # type: ignore[no-any-return]

    def _get(self, what: object, files: Iterable[Path], load: Callable[[], Any]) -> Any:
        key = what, _stamps(files)
        if key != self._key:
            self._key = self._held = None  # never two at a time
            self._held = load()
            self._key = key
        return self._held


def _stamps(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file does."""
    found = [(path, path.stat()) for path in sorted(files) if path.is_file()]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)
