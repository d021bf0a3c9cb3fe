"""Each time and bound that a person may set reaches the roles."""

from dataclasses import fields

import pytest
from pydantic import ValidationError

from worker.limits import Limits
from worker.settings import WorkerSettings

#: Derived, or no business of a person.
OWN = {"call_guard", "call_within", "look_every", "idle"}
SET = sorted({one.name for one in fields(Limits)} - OWN)


@pytest.mark.parametrize("name", SET)
def test_a_limit_is_set_by_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = type(getattr(Limits(), name))(17)
    for one, text in {"margin": "40", "alive": "60", "lease": "9", name: "17"}.items():
        monkeypatch.setenv(f"POINTSMAN_{one.upper()}", text)
    assert getattr(WorkerSettings().limits(), name) == wanted


def test_without_variables_the_defaults_are_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SET:
        monkeypatch.delenv(f"POINTSMAN_{name.upper()}", raising=False)
    settings = WorkerSettings()
    assert settings.limits() == Limits()
    assert (settings.resync, settings.engine_silence, settings.heals_at_once) == (30.0, 10.0, 4)
    assert (settings.on_exhausted, settings.self_heal) == ("retry", True)


@pytest.mark.parametrize("name", ["probe_every", "probe_deadline", "probe_failures", "probes_at_once"])
def test_a_probe_that_never_is_or_never_ends_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"POINTSMAN_{name.upper()}", "0")
    with pytest.raises(ValidationError, match=name):
        WorkerSettings()
