"""Where a trained model lies: a folder of ours, a published ``.model`` with its ``.weights``, or a name on the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class ModelFiles:
    """config: our ``config.json``, or None for a published model; architecture: a ``.model``, or None for one of ours."""

    weights: Path
    config: Path | None = None
    architecture: Path | None = None

    @property
    def all(self) -> list[Path]:
        return [path for path in (self.config, self.architecture, self.weights) if path is not None]


def find_model(name: str | Path, weights: Path | None = None) -> ModelFiles:
    """The files of a model. name: a folder, a ``.model``, a ``.weights`` beside its ``.model``, or ``owner/name`` on the hub.

    weights: the ``.weights`` where its name is not that of the ``.model`` (reinforcement-learned files share one ``.model``).
    Raises ValueError that says what is missing.
    """
    path = Path(name)
    if path.is_dir():
        if weights is not None:
            raise ValueError(
                f"{weights}: --weights goes with a published NAME.model; the folder {path} has its own weights"
            )
        return _folder(path)
    if path.suffix in (".model", ".weights"):
        architecture, beside = path.with_suffix(".model"), path.with_suffix(".weights")
        given = weights or (beside if path.suffix == ".model" else path)
        for file, what in ((architecture, "how the network is built"), (given, "its weights")):
            if not file.is_file():
                raise ValueError(
                    f"{file} does not exist; a published model is two files, NAME.model and NAME.weights, and this one holds "
                    f"{what}. If the names differ, give the .model and --weights"
                )
        return ModelFiles(given, architecture=architecture)
    if not path.exists() and not path.parent.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        return _folder(_from_hub(str(name)))
    raise ValueError(
        f"{name} does not exist or is no model; expected a folder with {CONFIG} and {WEIGHTS} (as `vpt train-idm`, "
        "`vpt train-prior` and `vpt convert` write it), a published NAME.model with NAME.weights beside it, or owner/name on "
        "huggingface.co"
    )


def _folder(folder: Path) -> ModelFiles:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name} does not exist; expected a folder with {CONFIG} and {WEIGHTS}, as `vpt train-idm`, "
                "`vpt train-prior` and `vpt convert` write it"
            )
    return ModelFiles(folder / WEIGHTS, config=folder / CONFIG)


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise ValueError(
            f"{name} is no file or folder here, and to look for it on huggingface.co the package huggingface_hub is missing: "
            "pip install huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub's own errors have no common base that is not OSError or ValueError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name} is no file or folder here, and huggingface.co does not give it: {reason}") from error
