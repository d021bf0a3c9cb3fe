"""Say what a test needs and does not find here: loud on a person's machine, a failure in CI."""

import os
from typing import NoReturn

import pytest

LEFT_OUT = "left out: "
DOES_NOT_APPLY = "does not apply: "


def in_ci() -> bool:
    """Tell whether this run is to fail over anything that it cannot try."""
    return os.environ.get("CI", "").lower() in {"true", "1", "yes"}


def leave_out(what: str, hint: str = "") -> NoReturn:
    """End the running test because `what` is missing on this machine: skipped, or failed where CI=true.

    `hint` tells a person how to get it.
    """
    reason = f"{LEFT_OUT}{what}" + (f" ({hint})" if hint else "")
    if in_ci():
        pytest.fail(f"{reason}; CI leaves nothing out", pytrace=False)
    pytest.skip(reason)


def does_not_apply(why: str) -> NoReturn:
    """Skip a case that has no meaning for this parameter; the only skip that CI accepts."""
    pytest.skip(f"{DOES_NOT_APPLY}{why}")
