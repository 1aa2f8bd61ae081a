"""What the environment settles, and what it cannot."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from outpaint_mcp.config import Settings
from outpaint_mcp.errors import ConfigError

FOLDERS = ("OUTPAINT_INPUT_DIRS", "OUTPAINT_OUTPUT_DIR", "OUTPAINT_DATA_DIR")
VARIABLES = (*FOLDERS, "OUTPAINT_PROVIDER", "OUTPAINT_LOG_LEVEL")


def test_every_variable_is_heeded(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "OUTPAINT_INPUT_DIRS": os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]),
            "OUTPAINT_OUTPUT_DIR": str(tmp_path / "longer"),
            "OUTPAINT_DATA_DIR": str(tmp_path / "data"),
            "OUTPAINT_PROVIDER": "local",
            "OUTPAINT_LOG_LEVEL": "debug",
        }
    )
    assert settings == Settings(
        input_dirs=(tmp_path / "a", tmp_path / "b", tmp_path / "longer"),
        output_dir=tmp_path / "longer",
        data_dir=tmp_path / "data",
        log_level="DEBUG",
    )


@pytest.mark.parametrize("unset", ["", "  ", "${user_config.folder}", " ${HOME} "])
def test_empty_and_unsubstituted_values_are_the_same_as_none(unset: str) -> None:
    assert Settings.from_env(dict.fromkeys(VARIABLES, unset)) == Settings.from_env({})


def test_a_list_of_folders_is_what_is_left_without_its_empty_and_unsubstituted_parts(tmp_path: Path) -> None:
    listed = os.pathsep.join(["", "${user_config.folder}", f" {tmp_path} ", ""])
    settings = Settings.from_env(
        {"OUTPAINT_INPUT_DIRS": listed, "OUTPAINT_OUTPUT_DIR": str(tmp_path / "out")}
    )
    assert settings.input_dirs == (tmp_path, tmp_path / "out")


def test_without_an_environment_everything_lies_in_the_persons_own_folders() -> None:
    settings = Settings.from_env({})
    assert len(settings.input_dirs) == 5
    assert settings.input_dirs[-1] == settings.output_dir
    assert settings.output_dir.parent == settings.input_dirs[0]
    assert all(folder.is_absolute() for folder in (*settings.input_dirs, settings.data_dir))
    assert settings.data_dir.name == "outpaint-mcp"
    assert settings.log_level == "WARNING"


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("value", ["Music", "./Music", "../Music", "~no-one-has-this-name/Music"])
def test_a_folder_without_a_full_path_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is '.*give a full path"):
        Settings.from_env({name: value})


def test_one_relative_folder_among_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="OUTPAINT_INPUT_DIRS is 'Music'"):
        Settings.from_env({"OUTPAINT_INPUT_DIRS": os.pathsep.join([str(tmp_path), "Music"])})


@pytest.mark.parametrize("name", FOLDERS)
def test_a_tilde_is_the_home_folder(name: str) -> None:
    settings = Settings.from_env({name: "~/Elsewhere"})
    assert Path.home() / "Elsewhere" in {*settings.input_dirs, settings.output_dir, settings.data_dir}


@pytest.mark.parametrize("provider", ["auto", "local", " local "])
def test_the_offered_providers_are_taken(provider: str) -> None:
    assert Settings.from_env({"OUTPAINT_PROVIDER": provider}) == Settings.from_env({})


@pytest.mark.parametrize(
    ("name", "value", "offered"),
    [("OUTPAINT_PROVIDER", "cloud", "auto, local"), ("OUTPAINT_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING")],
)
def test_a_value_that_is_not_offered_is_refused_with_those_that_are(
    name: str, value: str, offered: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name} is '{value}'.*{offered}"):
        Settings.from_env({name: value})


def test_settings_never_change() -> None:
    settings = Settings.from_env({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.log_level = "DEBUG"  # type: ignore[misc]  # that is the point
