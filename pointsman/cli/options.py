"""Options and arguments that several commands share."""

import getpass
import os
import socket
from typing import Annotated

import typer

from contracts.commands import MAX_NOTE_CHARS

NameArgument = Annotated[str | None, typer.Argument(metavar="NAME", help="The service.", show_default=False)]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The service, said this way.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The id of the command.", show_default=False)]


def issuer() -> str:
    """Return who asks: POINTSMAN_ISSUER, else `cli:<user>@<host>`."""
    said = os.environ.get("POINTSMAN_ISSUER")
    if said:
        return said
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"cli:{user}@{socket.gethostname()}"[:MAX_NOTE_CHARS]
