"""Loaded by schemathesis, not by pytest: what a service's state may refuse, and a request's form may not."""

from typing import Any

import schemathesis

#: 400 is also the Services API's answer for a service that is not as the action needs it, and for a dead letter
#: that is no command after what was mended.
STATES = frozenset({"already_running", "already_stopped", "service_disabled"})
LETTER = "invalid_command"


@schemathesis.check
def the_form_is_taken(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Fail where a request that is as the document says is refused for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    code = response.json()["code"]
    states = {LETTER} if case.operation.path.endswith("/requeue") else STATES
    assert code in states, f"a request of the right form is refused: {response.text}"
