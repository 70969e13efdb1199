"""What a labelling job did and with what: the JSON beside its tables, by which the same command resumes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from data.files import write_json_atomic

MANIFEST_VERSION = 1

Status = Literal["pending", "running", "done", "failed"]


@dataclass
class VideoEntry:
    """How far one video is. frames: ticks labelled so far. problems: what was wrong with the file, though it could be
    used. error: why it failed."""

    status: Status = "pending"
    source_sha256: str | None = None
    frames: int = 0
    problems: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class Manifest:
    """One job. model_sha256 and config decide the labels: change either, and it is another job.

    config holds JSON values only. videos is keyed as the tables' column ``video``. No times and no host names: equal
    jobs give equal bytes.
    """

    model_sha256: str
    config: dict[str, Any]
    videos: dict[str, VideoEntry] = field(default_factory=dict)

    def save(self, path: Path | str) -> None:
        """Write whole or not at all."""
        write_json_atomic(path, {"version": MANIFEST_VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: Path | str) -> Manifest:
        """Read a manifest. Raises ValueError, naming the file, for anything else."""
        try:
            content = json.loads(Path(path).read_bytes())
            version = content["version"]
            if version != MANIFEST_VERSION:
                raise ValueError(f"version {version}, expected {MANIFEST_VERSION}")
            videos = {name: VideoEntry(**entry) for name, entry in content["videos"].items()}
            unknown = {entry.status for entry in videos.values()} - set(get_args(Status))
            if unknown:
                raise ValueError(f"status {sorted(unknown)}, expected one of {get_args(Status)}")
            return cls(content["model_sha256"], dict(content["config"]), videos)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: expected the manifest of a labelling job, found none ({error!r}); "
                "give another output folder, or remove this file to label again"
            ) from error

    def require_same_job(self, model_sha256: str, config: dict[str, Any]) -> None:
        """Raises ValueError, saying what differs, unless labels of this model and config may be added to this job's."""
        different = [] if model_sha256 == self.model_sha256 else ["the model"]
        for key in sorted(self.config.keys() | config.keys()):
            old, new = self.config.get(key), config.get(key)
            if old != new:
                different.append(f"{key} (was {old!r}, is {new!r})")
        if different:
            raise ValueError(
                f"this output folder holds labels of another job, which differs in {', '.join(different)}; "
                "give another folder, or the same model and settings"
            )
