"""Where the gateway is and with which key: profiles, the environment, installations; and keys that go nowhere else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.client.addresses import Installation, find_gateway
from gateway.client.errors import NotConfigured
from gateway.client.profiles import read_profiles

PROD = '[profile.prod]\nurl = "https://prod.example/"\nkey = "sop_p_1"\noutput = "json"\n'


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """An empty working directory's sop.toml, the user's file, and a data directory with a key."""
    monkeypatch.chdir(tmp_path)
    user = tmp_path / "config" / "sop" / "config.toml"
    user.parent.mkdir(parents=True)
    data = tmp_path / ".sop"
    data.mkdir()
    (data / "api-key").write_text("sop_own_1\n")
    return tmp_path / "sop.toml", user, data


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.write_text(text)
    file.chmod(mode)


def find(places: tuple[Path, Path, Path], environ: dict[str, str] | None = None, **given: str) -> tuple[str, str]:
    found = find_gateway(
        Installation(places[2], "http://127.0.0.1:8080"),
        environ={"XDG_CONFIG_HOME": str(places[1].parents[1]), **(environ or {})},
        **given,  # type: ignore[arg-type]
    )
    return found.url, found.key


def refused(places: tuple[Path, Path, Path], environ: dict[str, str] | None = None, **given: str) -> NotConfigured:
    with pytest.raises(NotConfigured) as raised:
        find(places, environ, **given)
    return raised.value


def test_what_goes_before_what(places: tuple[Path, Path, Path]) -> None:
    project, user, data = places
    own = "sop_own_1"
    assert find(places) == ("http://127.0.0.1:8080", own)
    (data / "dev.json").write_text(json.dumps({"gateway": "http://127.0.0.1:9/"}))
    assert find(places) == ("http://127.0.0.1:9", own)
    write(user, '[profile.default]\nurl = "http://user"\nkey = "sop_u_1"\n' + PROD)
    assert find(places) == ("http://user", "sop_u_1")
    assert find(places, profile="prod") == ("https://prod.example", "sop_p_1")
    assert find(places, {"SOP_PROFILE": "prod"}) == ("https://prod.example", "sop_p_1")
    assert find(places, {"SOP_PROFILE": "nope"}, profile="prod") == ("https://prod.example", "sop_p_1")
    write(project, '[profile.default]\nurl = "http://project"\nkey = "sop_j_1"\n')
    assert find(places) == ("http://project", "sop_j_1")
    assert find(places, profile="prod") == ("https://prod.example", "sop_p_1")
    assert find(places, {"SOP_URL": "http://env/"}) == ("http://env", own)
    assert find(places, {"SOP_URL": "http://env", "SOP_API_KEY": "sop_e_1"}) == ("http://env", "sop_e_1")
    assert find(places, {"SOP_URL": "http://env", "SOP_API_KEY": "k"}, url="http://flag") == ("http://flag", "k")


def test_a_key_goes_only_to_the_address_beside_it(places: tuple[Path, Path, Path]) -> None:
    project, user, _ = places
    write(user, PROD + '[profile.default]\nurl = "http://user"\nkey = "sop_u_1"\n')
    write(project, '[profile.prod]\nurl = "https://evil.example"\n[profile.default]\nurl = "https://evil.example"\n')
    assert refused(places, profile="prod").code == "no_key"
    assert refused(places).code == "no_key"
    misdirected = refused(places, {"SOP_API_KEY": "sop_e_1"})
    assert misdirected.code == "key_misdirected" and "--profile default" in str(misdirected.hint)
    assert find(places, {"SOP_API_KEY": "sop_e_1"}, profile="prod") == ("https://evil.example", "sop_e_1")
    write(project, '[profile.prod]\nurl = "https://prod.example"\n')
    assert find(places, profile="prod") == ("https://prod.example", "sop_p_1")
    assert find(places, {"SOP_URL": "https://prod.example"}, profile="prod") == ("https://prod.example", "sop_p_1")
    assert find(places, {"SOP_URL": "https://else.example"}, profile="prod")[1] == "sop_own_1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_keys_that_others_can_read_are_refused(places: tuple[Path, Path, Path], mode: int) -> None:
    for file in places[:2]:
        write(file, PROD, mode)
        error = refused(places)
        assert (
            error.code == "key_exposed"
            and error.hint == f"chmod 600 {file.relative_to(Path.cwd()) if file.parent == Path.cwd() else file}"
        )
        file.unlink()
    write(places[0], '[profile.open]\nurl = "http://x"\n', mode)
    assert find(places)[0] == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[profile.prod\n", "sop.toml: Expected"),
        ("[profiles.prod]\nurl = 'http://x'\n", "did you mean 'profile'?"),
        ("[profile.prod]\nulr = 'http://x'\n", "did you mean 'url'?"),
        ("[profile.prod]\nurl = 1\n", "url is a text"),
        ("[profile.prod]\nurl = ''\n", "url is a text"),
        ("[profile.prod]\nurl = 'prod.example'\n", "http:// or https://"),
        ("[profile.prod]\noutput = 'xml'\n", "output is one of table, json, ndjson, csv"),
        ("[profile.prod]\nkey = 'sop_p_1'\n", "has a key and no url"),
        ("[profile]\nprod = 1\n", "profile.prod is a table"),
        ("profile = 1\n", "profiles are tables"),
    ],
)
def test_what_means_nothing_is_refused(places: tuple[Path, Path, Path], text: str, told: str) -> None:
    write(places[0], text)
    assert told in str(refused(places))


def test_a_profile_that_is_not_there(places: tuple[Path, Path, Path]) -> None:
    assert "there are: none" in str(refused(places, profile="prod"))
    write(places[1], PROD)
    error = refused(places, profile="prd")
    assert (error.code, error.hint) == ("unknown_profile", "did you mean 'prod'?")


def test_keys_are_not_shown(places: tuple[Path, Path, Path]) -> None:
    write(places[1], PROD)
    found = find_gateway(
        Installation(places[2]), profile="prod", environ={"XDG_CONFIG_HOME": str(places[1].parents[1])}
    )
    assert "sop_p_1" not in repr(found) + repr(read_profiles(places[1]))


def test_the_client_imports_nothing_of_the_servers() -> None:
    code = """import sys, gateway.client
names = {name.partition(".")[0] for name in sys.modules}
print(sorted(names & {"fastapi", "starlette", "temporalio", "apsw", "btree", "script", "query", "settings", "typer", "openai"}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
