"""What the environment settles, and what it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from outpaint_mcp.config import Settings
from outpaint_mcp.errors import ConfigError
from outpaint_mcp.principals import PERSON, Principal

FOLDERS = ("OUTPAINT_INPUT_DIRS", "OUTPAINT_OUTPUT_DIR", "OUTPAINT_DATA_DIR")
VARIABLES = (*FOLDERS, "OUTPAINT_PROVIDER", "OUTPAINT_LOG_LEVEL")


def test_every_variable_is_heeded(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "OUTPAINT_INPUT_DIRS": os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]),
            "OUTPAINT_OUTPUT_DIR": str(tmp_path / "longer"),
            "OUTPAINT_DATA_DIR": str(tmp_path / "data"),
            "OUTPAINT_EXPORT_DIRS": str(tmp_path / "desktop"),
            "OUTPAINT_PROVIDER": "local",
            "OUTPAINT_LOG_LEVEL": "debug",
        }
    )
    assert settings == Settings(
        input_dirs=(tmp_path / "a", tmp_path / "b", tmp_path / "longer"),
        shared_dirs=(tmp_path / "a", tmp_path / "b"),
        output_dir=tmp_path / "longer",
        data_dir=tmp_path / "data",
        export_dirs=(tmp_path / "desktop",),
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


@pytest.mark.smoke
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


def test_a_token_makes_runcomfy_the_provider_unless_another_is_named(tmp_path: Path) -> None:
    with_token = {"RUNCOMFY_API_TOKEN": "secret"}
    assert Settings.from_env(with_token).provider == "runcomfy"
    assert Settings.from_env(with_token | {"OUTPAINT_PROVIDER": "local"}).provider == "local"
    assert Settings.from_env({"RUNCOMFY_CONFIG_DIR": str(tmp_path)}).provider == "local"
    alone = Settings.from_env({"OUTPAINT_PROVIDER": "runcomfy", "RUNCOMFY_CONFIG_DIR": str(tmp_path)})
    assert (alone.provider, alone.token) == ("runcomfy", None)


def test_a_token_is_found_wherever_the_vendors_own_clients_look(tmp_path: Path) -> None:
    (tmp_path / "runcomfy").mkdir()
    kept = tmp_path / "runcomfy" / "token.json"
    kept.write_text(json.dumps({"access_token": "from the login", "token": "from the nodes"}))
    places = [
        {"RUNCOMFY_API_TOKEN": "one"},
        {"RUNCOMFY_TOKEN": "two"},
        {"RUNCOMFY_API_KEY": "three"},
        {"RUNCOMFY_CONFIG_DIR": str(tmp_path / "runcomfy")},
        {"XDG_CONFIG_HOME": str(tmp_path)},
    ]
    found = [Settings.from_env(place).token for place in places]
    assert found == ["one", "two", "three", "from the login", "from the login"]
    assert (
        Settings.from_env({name: value for place in places for name, value in place.items()}).token == "one"
    )
    kept.write_text(json.dumps({"token": " from the nodes\n"}))
    assert Settings.from_env(places[-1]).token == "from the nodes"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"token": 3}', '{"access_token": ""}', '"token"'])
def test_a_token_file_that_holds_none_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "token.json").write_text(content)
    settings = Settings.from_env({"RUNCOMFY_CONFIG_DIR": str(tmp_path)})
    assert (settings.token, settings.provider) == (None, "local")


def test_settings_never_show_the_token() -> None:
    settings = Settings.from_env({"RUNCOMFY_API_TOKEN": "hunter2", "OUTPAINT_UPLOAD": "s3://bucket/prefix"})
    assert settings.token == "hunter2"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("base", "kept"),
    [
        ("https://proxy.example:8443/v1/", "https://proxy.example:8443/v1"),
        ("http://127.0.0.1:8089/v1", "http://127.0.0.1:8089/v1"),
        ("http://localhost/v1", "http://localhost/v1"),
        ("http://[::1]:8089/v1", "http://[::1]:8089/v1"),
    ],
)
def test_the_token_goes_over_tls_or_not_off_this_machine(base: str, kept: str) -> None:
    assert Settings.from_env({"RUNCOMFY_MODEL_API_BASE": base}).runcomfy_base == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNCOMFY_MODEL_API_BASE", "http://api.example/v1"),
        ("RUNCOMFY_MODEL_API_BASE", "http://127.0.0.1.example/v1"),
        ("RUNCOMFY_MODEL_API_BASE", "ftp://api.example/v1"),
        ("RUNCOMFY_MODEL_API_BASE", "api.example/v1"),
        ("RUNCOMFY_MODEL_API_BASE", "https://user:hunter2@api.example/v1"),
        ("RUNCOMFY_MODEL_API_BASE", "https://api.example:port/v1"),
        ("OUTPAINT_UPLOAD", "bucket/prefix"),
        ("OUTPAINT_UPLOAD", "https://bucket.example/prefix"),
        ("OUTPAINT_UPLOAD", "s3://key:hunter2@bucket/prefix"),
        ("OUTPAINT_MAX_COST_USD", "a dollar"),
        ("OUTPAINT_MAX_COST_USD", "-1"),
        ("OUTPAINT_MAX_COST_USD", "nan"),
        ("OUTPAINT_MAX_COST_USD", "inf"),
    ],
)
def test_a_setting_that_would_cost_or_leak_is_refused_without_being_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as refused:
        Settings.from_env({name: value})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "most"), [("0", 0), ("0.25", 0.25), (" $3 ", 3), ("", None), ("${x}", None)]
)
def test_a_limit_is_in_dollars(text: str, most: float | None) -> None:
    assert Settings.from_env({"OUTPAINT_MAX_COST_USD": text}).max_cost_usd == most


@pytest.mark.parametrize("provider", ["auto", "local", " local "])
def test_the_offered_providers_are_taken(provider: str) -> None:
    assert Settings.from_env({"OUTPAINT_PROVIDER": provider}) == Settings.from_env({})


def test_a_log_level_that_is_not_offered_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"OUTPAINT_LOG_LEVEL is 'LOUD'.*DEBUG, INFO, WARNING"):
        Settings.from_env({"OUTPAINT_LOG_LEVEL": "LOUD"})


def test_settings_never_change() -> None:
    settings = Settings.from_env({})
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.log_level = "DEBUG"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("shared", [".", "data", "data/callers/ann", "link"])
def test_a_folder_for_all_callers_is_apart_from_those_of_each(tmp_path: Path, shared: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    apart = Settings(
        input_dirs=(),
        shared_dirs=(tmp_path / "music",),
        output_dir=tmp_path / "out",
        data_dir=tmp_path / "data",
    )
    apart.check_callers_apart()
    settings = dataclasses.replace(apart, shared_dirs=(tmp_path / shared,))
    with pytest.raises(ConfigError, match="OUTPAINT_INPUT_DIRS, which every caller may read"):
        settings.check_callers_apart()


def test_a_remote_caller_has_folders_of_their_own_and_those_that_were_named(tmp_path: Path) -> None:
    settings = Settings(
        input_dirs=(tmp_path / "Music", tmp_path / "out"),
        output_dir=tmp_path / "out",
        data_dir=tmp_path / "data",
    )
    ann, bob = (settings.reach_of(Principal(name)) for name in ("ann", "bob"))
    assert set(ann.input_dirs) == {ann.output_dir, ann.upload_dir}, "the defaults are the person's"
    assert not set(ann.input_dirs) & set(bob.input_dirs)
    assert ann.export_dirs == ()
    assert settings.reach_of(PERSON).input_dirs == settings.input_dirs


@pytest.mark.parametrize(
    "other",
    [
        Principal("ann", "https://a", "1"),
        Principal("ann", "https://b", "1"),
        Principal("ann", "https://a", "2"),
        Principal("Ann"),
        Principal("an", "n"),
        Principal("../ann"),
    ],
)
def test_callers_of_other_keys_issuers_and_subjects_are_others(other: Principal) -> None:
    ann = Principal("ann")
    assert other.owner != ann.owner
    assert re.fullmatch(r"[a-z0-9-]+", other.owner), "it names a folder"
    assert other.digest not in {"", ann.digest}
