"""Which label table is a video's: `vpt label` names tables after videos, and videos in several folders may have one name."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from data.files import sha256_file
from data.labels import LabelTable
from data.manifest import Manifest
from data.sources import default_name, names_of
from data.stores import absolute


class LabelFolder:
    """A folder of tables that `vpt label` wrote (with --cluster: the folder `labels` of a version).

    The manifest knows each video by the hash of its file. Where only tables were copied, their names decide.
    Raises ValueError for a broken manifest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifest, self._names = folder / "manifest.json", dict[str, str]()
        if self._manifest.is_file():
            entries = Manifest.load(self._manifest).videos.items()
            self._names = {entry.source_sha256 or "": name for name, entry in entries}
        elif (of_job := folder.parent / "manifest.parquet").is_file():
            rows = pq.read_table(of_job, columns=["source_sha256", "name"]).to_pylist()
            self._manifest, self._names = of_job, {row["source_sha256"] or "": row["name"] for row in rows}

    def read(self, video: Path) -> LabelTable:
        """The labels of a video. Raises ValueError, naming it, if there are none, or only those of another of its name."""
        path = self.path(video)
        table = LabelTable.read(path)
        if len(table.videos) > 1 or any(path.stem not in (one, default_name(one)) for one in table.videos):
            raise ValueError(
                f"{path}: labels of {', '.join(table.videos[:3])}, expected those of {path.stem} alone, as it is named; "
                f"`vpt label {video}` writes them"
            )
        return table

    def path(self, video: Path) -> Path:
        """Where the labels of a video are; see :meth:`read`."""
        name = default_name(str(video))
        if self._names:
            known = self._names.get(sha256_file(video))
            path = self.folder / f"{known or name}.parquet"
            if known is None and path.is_file():
                raise ValueError(
                    f"{video}: {path} is of another video of that name, as {self._manifest} has it; expected labels of "
                    f"this very file, which `vpt label {video}` writes"
                )
        else:
            named = (self.folder / f"{one}.parquet" for one in reversed(names_of(absolute(str(video)))))
            path = next((one for one in named if one.is_file()), self.folder / f"{name}.parquet")
        if not path.is_file():
            raise ValueError(f"{video}: no labels in {path}; `vpt label` writes them")
        return path
