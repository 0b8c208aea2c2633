"""Settings: from the shipped catalogue, tierflow.toml and the environment, in that order."""

import re
from pathlib import Path

import pytest

from tierflow.errors import ConfigError, ConfigNotFoundError, UnknownTierError
from tierflow.settings import Deployment, config_path, settings

DEPLOYMENTS = '[{"model": "openai/law", "api_base": "http://127.0.0.1:1/v1"}]'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- where settings come from


def test_without_a_file_the_shipped_catalogue_is_in_force(project: Path) -> None:
    found = settings()
    assert config_path() is None
    assert [name for name, _ in found.tiers.items()] == ["fast", "standard", "frontier"]
    assert found.home == project / ".tierflow"
    assert found.cache.mode == "on"
    for tier in dict(found.tiers.items()).values():
        assert tier.sampling.temperature == 0
        assert len({deployment.provider for deployment in tier.deployments}) >= 2


def test_the_file_goes_over_the_catalogue_key_by_key(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = settings()
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    write(project / "below" / "tierflow.toml", "[tiers.fast]\ntimeout_s = 3.5\n")
    found = settings()
    assert found.tiers.fast.timeout_s == 3.5
    assert found.tiers.fast.deployments == shipped.tiers.fast.deployments
    assert found.tiers.frontier == shipped.tiers.frontier


def test_a_list_of_deployments_is_replaced_as_a_whole(project: Path) -> None:
    write(project / "tierflow.toml", '[tiers.fast]\ndeployments = [{ model = "xai/one" }]\n')
    assert settings().tiers.fast.deployments == (Deployment(model="xai/one"),)


def test_the_environment_goes_over_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "tierflow.toml", "[tiers.fast]\ntimeout_s = 3.5\nmax_wait_s = 1.5\n")
    monkeypatch.setenv("TIERFLOW_TIERS__FAST__TIMEOUT_S", "10")
    monkeypatch.setenv("TIERFLOW_CACHE__MODE", "off")
    monkeypatch.setenv("TIERFLOW_CACHE__TTL_S", "60")
    found = settings()
    assert (found.tiers.fast.timeout_s, found.tiers.fast.max_wait_s) == (10, 1.5)
    assert (found.cache.mode, found.cache.ttl_s) == ("off", 60)


def test_a_specialist_can_be_made_of_variables_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_TIERS__SPECIALIST__LEGAL__DEPLOYMENTS", DEPLOYMENTS)
    monkeypatch.setenv("TIERFLOW_TIERS__SPECIALIST__LEGAL__TIMEOUT_S", "7")
    monkeypatch.setenv("TIERFLOW_TIERS__SPECIALIST__LEGAL__SAMPLING", '{"temperature": 0.5}')
    tier = settings().tiers.get("specialist.legal")
    assert [deployment.model for deployment in tier.deployments] == ["openai/law"]
    assert (tier.timeout_s, tier.sampling.temperature) == (7, 0.5)


def test_specialists_of_file_and_environment_stand_side_by_side(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        project / "tierflow.toml",
        '[tiers.specialist.code]\ndeployments = [{ model = "mistral/code" }]\n',
    )
    monkeypatch.setenv("TIERFLOW_TIERS__SPECIALIST__LEGAL__DEPLOYMENTS", DEPLOYMENTS)
    names = [name for name, _ in settings().tiers.items()]
    assert names[:3] == ["fast", "standard", "frontier"]
    assert set(names[3:]) == {"specialist.code", "specialist.legal"}


def test_the_nearest_file_upward_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = write(project / "tierflow.toml", "[cache]\nttl_s = 1\n")
    inner = write(project / "a" / "tierflow.toml", "[cache]\nttl_s = 2\n")
    (project / "a" / "b" / "c").mkdir(parents=True)
    (project / "other").mkdir()
    monkeypatch.chdir(project / "a" / "b" / "c")
    assert config_path() == inner
    assert settings().cache.ttl_s == 2
    monkeypatch.chdir(project / "other")
    assert config_path() == outer
    assert settings().cache.ttl_s == 1


def test_tierflow_config_names_the_file_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "tierflow.toml", "[cache]\nttl_s = 1\n")
    named = write(project / "elsewhere" / "mine.toml", "[cache]\nttl_s = 2\n")
    monkeypatch.setenv("TIERFLOW_CONFIG", "elsewhere/mine.toml")
    assert config_path() == named
    assert settings().cache.ttl_s == 2
    assert settings().home == named.parent / ".tierflow"


def test_an_empty_file_is_a_file(project: Path) -> None:
    write(project / "tierflow.toml", "")
    assert settings().home == project / ".tierflow"


def test_settings_are_read_once_for_a_directory_and_an_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings() is settings()
    before = settings()
    monkeypatch.setenv("TIERFLOW_CACHE__TTL_S", "5")
    assert settings() is not before


# --- folders


def test_a_relative_home_is_anchored_at_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "tierflow.toml", 'home = "kept"\nreplay_dir = "recordings"\n')
    (project / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "down")
    assert settings().home == project / "kept"
    assert settings().replay_dir == project / "recordings"
    monkeypatch.setenv("TIERFLOW_HOME", "from-variable")
    assert settings().home == project / "from-variable"


def test_without_a_file_a_relative_home_is_anchored_at_the_working_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_HOME", "kept")
    assert settings().home == project / "kept"


def test_an_absolute_home_stays_where_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project / "tierflow.toml", "")
    monkeypatch.setenv("TIERFLOW_HOME", "/somewhere/else")
    assert settings().home == Path("/somewhere/else")


def test_a_tilde_is_the_users_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project / "user"))
    write(project / "tierflow.toml", 'home = "~/kept"\nreplay_dir = "~/recordings"\n')
    assert settings().home == project / "user" / "kept"
    assert settings().replay_dir == project / "user" / "recordings"


# --- what is wrong is said, with its place and its remedy


def test_tierflow_config_to_nowhere_names_the_path_and_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_CONFIG", "nowhere.toml")
    with pytest.raises(ConfigNotFoundError, match="Correct the path, or unset it") as caught:
        settings()
    assert str(project / "nowhere.toml") in str(caught.value)


@pytest.mark.parametrize("content", [b"[tiers.fast\n", b"a = = 1", b'home = "\xff"'])
def test_invalid_toml_names_the_file(project: Path, content: bytes) -> None:
    (project / "tierflow.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="is not valid TOML") as caught:
        settings()
    assert str(project / "tierflow.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[tiers.fast]\ntimeout_s = -1", "tiers.fast.timeout_s"),
        ('[tiers.fast]\ntimeout_s = "soon"', "tiers.fast.timeout_s"),
        ("[tiers.fast]\ntimeout = 3", "tiers.fast.timeout"),
        ("[tiers.fast]\ndeployments = []", "tiers.fast.deployments"),
        ("[tiers.fast]\ndeployments = [{ modle = 'x' }]", "tiers.fast.deployments.0.modle"),
        ("[tiers.fast.sampling]\ntemperature = 3", "tiers.fast.sampling.temperature"),
        ("[tiers.quick]\ntimeout_s = 1", "tiers.quick"),
        ("[tiers.specialist.law]\ntimeout_s = 1", "tiers.specialist.law.deployments"),
        ("[cache]\nttl_s = 0", "cache.ttl_s"),
        ("colour = 'red'", "colour"),
        (
            "[tiers.fast]\ndeployments = [{ model = 'xai/x', input_usd_per_mtok = 1 }]",
            "tiers.fast.deployments.0: Value error, xai/x has only one of input_usd_per_mtok",
        ),
    ],
)
def test_an_invalid_value_names_file_and_field(project: Path, text: str, field: str) -> None:
    path = write(project / "tierflow.toml", text)
    with pytest.raises(ConfigError, match="Wrong settings in") as caught:
        settings()
    assert str(path) in str(caught.value)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "field"),
    [
        ("TIERFLOW_TIERS__FAST__TIMEOUT_S", "soon", "tiers.fast.timeout_s"),
        ("TIERFLOW_CACHE__TTL_S", "-5", "cache.ttl_s"),
        ("TIERFLOW_TIERS", "{broken", "tiers"),
        (
            "TIERFLOW_TIERS__SPECIALIST__LEGAL__DEPLOYMENTS",
            "[broken",
            "tiers.specialist.legal.deployments",
        ),
    ],
)
def test_an_invalid_variable_is_named_by_its_field(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=re.escape(field)) as caught:
        settings()
    assert "TIERFLOW_" in str(caught.value)


def test_a_correction_is_read_after_an_error(project: Path) -> None:
    path = write(project / "tierflow.toml", "[cache]\nttl_s = 0\n")
    with pytest.raises(ConfigError):
        settings()
    path.write_text("[cache]\nttl_s = 9\n")
    assert settings().cache.ttl_s == 9


def test_an_unknown_tier_names_the_known_ones(project: Path) -> None:
    with pytest.raises(UnknownTierError, match=r"No tier 'quick'. Known: fast, standard, frontier"):
        settings().tiers.get("quick")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().home = Path("elsewhere")


def test_a_deployments_name_tells_endpoints_apart() -> None:
    assert Deployment(model="openai/x").name == "openai/x"
    assert Deployment(model="openai/x", api_base="http://h/v1").name == "openai/x@http://h/v1"
    assert Deployment(model="openai/x").provider == "openai"


# --- telemetry


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("true", "span_only"),
        ("false", "no_content"),
        ('"SPAN_AND_EVENT"', "span_and_event"),
        ('"event_only"', "event_only"),
    ],
)
def test_capturing_content_may_be_said_in_opentelemetrys_words_or_by_true(
    written: str, mode: str, project: Path
) -> None:
    write(project / "tierflow.toml", f"[telemetry]\ncapture_content = {written}\n")
    assert settings().telemetry.capture_content == mode


def test_capturing_content_is_left_to_the_standard_variable(project: Path) -> None:
    assert settings().telemetry.capture_content is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('redact = "no function"', "telemetry.redact"),
        ('otlp_endpoint = "collector:4317"', "telemetry.otlp_endpoint"),
        ('profile = "v1.37.0"', "telemetry.profile"),
        ('capture_content = "all"', "telemetry.capture_content"),
        ("max_content_bytes = -1", "telemetry.max_content_bytes"),
    ],
)
def test_telemetry_refuses_what_it_cannot_follow(text: str, field: str, project: Path) -> None:
    write(project / "tierflow.toml", f"[telemetry]\n{text}\n")
    with pytest.raises(ConfigError, match=re.escape(field)):
        settings()
