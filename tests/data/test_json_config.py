from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from data.files import write_json_atomic
from data.json_config import MODELS_BY_SETTING, JsonConfig
from idm.config import IDMConfig
from prior.config import PolicyConfig
from prior.text.embedding.small_clip import SmallClipConfig

MODELS: dict[str, type[JsonConfig]] = {
    "an inverse": IDMConfig,
    "a policy": PolicyConfig,
    "an embedding": SmallClipConfig,
}
"""How its kind is told -> the settings of a model."""


@pytest.mark.parametrize("expected", MODELS)
@pytest.mark.parametrize("found", MODELS)
def test_the_folder_of_another_kind_of_model_is_told_as_such(tmp_path: Path, found: str, expected: str) -> None:
    path = tmp_path / "config.json"
    write_json_atomic(path, MODELS[found]().to_dict())
    if found == expected:
        assert MODELS[expected].read(path) == MODELS[found]()
        return
    with pytest.raises(ValueError, match=rf"config\.json is that of {found} .*; expected {expected} .*vpt train-"):
        MODELS[expected].read(path)


def test_only_one_kind_of_model_has_the_setting_that_it_is_told_by() -> None:
    for setting, kind in MODELS_BY_SETTING.items():
        have = [model for model in MODELS.values() if setting in model().to_dict()]
        assert have == [next(model for said, model in MODELS.items() if kind.startswith(said))]


def test_what_is_no_model_knows_only_its_own_settings() -> None:
    @dataclasses.dataclass(frozen=True)
    class Rules(JsonConfig):
        most: int = 1

    with pytest.raises(ValueError, match=r"here: unknown settings \['fovea'\]; this version knows \['most'\]"):
        Rules.from_dict({"fovea": True}, "here")
