import json
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from contracts.errors import ServiceNotFound
from pointsman.cli.frame import Scope, command, group, one_name
from pointsman.cli.options import issuer

RUNNER = CliRunner()


@pytest.fixture
def seen() -> list[Scope]:
    return []


@pytest.fixture
def app(seen: list[Scope], monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    for name in ("ROOM", "REDIS_URL", "PREFIX"):
        monkeypatch.delenv(f"POINTSMAN_{name}", raising=False)
    root, below = group("program", "A program."), group("part", "A part of it.")

    @command(below, "look")
    async def look(scope: Scope, often: Annotated[int, typer.Option("--often")] = 1) -> int:
        """Look."""
        seen.append(scope)
        return often - 1

    @command(below, "fail")
    async def fail(scope: Scope) -> None:
        """Fail."""
        raise ServiceNotFound(service="web")

    root.add_typer(below)
    return root


def look(app: typer.Typer, *arguments: str) -> int:
    return RUNNER.invoke(app, list(arguments)).exit_code


def test_defaults(app: typer.Typer, seen: list[Scope]):
    assert look(app, "part", "look") == 0
    (scope,) = seen
    assert (scope.room, scope.redis_url, scope.prefix, scope.as_json) == (
        "default",
        "redis://localhost:6379/0",
        "pointsman",
        False,
    )


def test_the_nearest_word_wins(app: typer.Typer, seen: list[Scope], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POINTSMAN_ROOM", "environment")
    monkeypatch.setenv("POINTSMAN_REDIS_URL", "redis://environment")
    look(app, "part", "look")
    look(app, "--room", "root", "part", "look")
    look(app, "--room", "root", "part", "--room", "group", "look")
    look(app, "--room", "root", "part", "--room", "group", "look", "--room", "leaf", "--json")
    look(app, "--json", "part", "look")
    assert [scope.room for scope in seen] == ["environment", "root", "group", "leaf", "environment"]
    assert [scope.as_json for scope in seen] == [False, False, False, True, True]
    assert {scope.redis_url for scope in seen} == {"redis://environment"}


def test_an_empty_variable_is_none(app: typer.Typer, seen: list[Scope], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POINTSMAN_ROOM", "")
    look(app, "part", "look")
    assert seen[0].room == "default"


def test_what_is_returned_is_the_exit_code(app: typer.Typer):
    assert look(app, "part", "look", "--often", "4") == 3


def test_an_error_of_ours_is_told_once_on_stderr(app: typer.Typer):
    told = RUNNER.invoke(app, ["part", "fail"])
    assert (told.exit_code, told.stdout) == (4, "")
    assert told.stderr.startswith("Error: Service 'web' not found\n")
    told = RUNNER.invoke(app, ["part", "fail", "--json"])
    assert (told.exit_code, told.stdout) == (4, "")
    error = json.loads(told.stderr)["error"]
    assert error == {"code": "service_not_found", "status": 404, "message": "Service 'web' not found"}


def test_help_shows_a_command_s_own_options_before_the_common_ones(app: typer.Typer):
    told = RUNNER.invoke(app, ["part", "look", "--help"], env={"COLUMNS": "120"}).stdout
    assert "Look." in told
    assert 0 < told.index("--often") < told.index("--room") < told.index("--redis-url") < told.index("--json")
    assert "--prefix" not in told


def test_one_name():
    assert one_name("web", None) == one_name(None, "web") == one_name("web", "web") == "web"
    with pytest.raises(typer.BadParameter, match="--name"):
        one_name("web", "db")
    with pytest.raises(typer.BadParameter, match="missing"):
        one_name(None, None)


def test_who_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("POINTSMAN_ISSUER", raising=False)
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("socket.gethostname", lambda: "edge-1")
    assert issuer() == "cli:ada@edge-1"
    monkeypatch.setenv("POINTSMAN_ISSUER", "ci")
    assert issuer() == "ci"


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.delenv("POINTSMAN_ISSUER", raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    assert issuer().startswith("cli:")
    assert issuer()[4].isdigit()


def test_an_issuer_is_no_longer_than_the_contract_allows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("POINTSMAN_ISSUER", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 300)
    assert len(issuer()) == 256
