"""`pointsman token create`: participant tokens for a gateway that asks for them."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.commands import MAX_NOTE_CHARS, SELF_HEAL
from contracts.times import format_ms
from pointsman.cli.frame import Scope, command, group
from pointsman.cli.gateway import load_settings

if TYPE_CHECKING:
    from gateway.tokens import ServicesScope

app = group("token", "Make participant tokens.")

#: Ten years: longer is a mistake in the unit.
LONGEST = 315_360_000

Names = Annotated[list[str] | None, typer.Option(metavar="NAME", show_default=False)]
SubjectOption = Annotated[
    str, typer.Option("--subject", metavar="WHO", help="Who asks: the issuer of the commands.")
]
AlsoOption = Annotated[
    list[str] | None,
    typer.Option("--also-room", metavar="ROOM", help="A room beside --room; may be given often."),
]
FullOption = Annotated[bool, typer.Option("--full", help="Everything: reading, all actions, dead letters.")]
ListOption = Annotated[bool, typer.Option("--list", help="Reading everything of the room.")]
DeadOption = Annotated[bool, typer.Option("--dead-letters", help="Requeue and drop dead letters.")]
TtlOption = Annotated[
    int, typer.Option("--ttl", metavar="S", min=1, max=LONGEST, help="Seconds until it expires.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="An HS256 secret, or an Ed25519 private key in PEM. "
        "[default: POINTSMAN_GATEWAY_HS256_KEY or …_HS256_KEY_FILE]",
    ),
]


@command(app, "create")
async def create(
    scope: Scope,
    subject: SubjectOption,
    also_room: AlsoOption = None,
    full: FullOption = False,
    reads: ListOption = False,
    restart: Names = None,
    start: Names = None,
    stop: Names = None,
    enable: Names = None,
    disable: Names = None,
    dead_letters: DeadOption = False,
    ttl: TtlOption = 3600,
    key_file: KeyOption = None,
) -> None:
    """Make a token for a room and print it.

    Each action takes the names of services, often; a name may end with `*`. What is not said is not
    allowed.
    """
    try:
        from gateway.tokens import BadKey, ServicesScope, mint  # noqa: PLC0415 -- needs the extra
    except ImportError as error:
        raise typer.BadParameter(f"{error}: install `pointsman[gateway]`") from error

    if not subject or len(subject) > MAX_NOTE_CHARS or subject == SELF_HEAL:
        raise typer.BadParameter(f"--subject has 1 to {MAX_NOTE_CHARS} characters and is not '{SELF_HEAL}'")
    everything = ("*",) if full else ()
    asked = {"restart": restart, "start": start, "stop": stop, "enable": enable, "disable": disable}
    allowed: dict[str, Any] = {name: everything + tuple(names or ()) for name, names in asked.items()}
    grant = ServicesScope(list=full or reads, dead_letters=full or dead_letters, **allowed)
    if grant == ServicesScope():
        raise typer.BadParameter("the token would allow nothing: give --list, --restart NAME, … or --full")
    try:
        key, algorithm = _key(scope, key_file)
        token = mint(
            key,
            subject=subject,
            rooms=[scope.room, *(also_room or ())],
            scope=grant,
            seconds=ttl,
            algorithm=algorithm,
        )
    except BadKey as error:
        raise typer.BadParameter(str(error)) from error
    _print(scope, token, subject, ttl, grant)


def _print(scope: Scope, token: str, subject: str, ttl: int, grant: "ServicesScope") -> None:
    expires = format_ms((int(time.time()) + ttl) * 1000)
    if scope.as_json:
        told = grant.model_dump(mode="json", exclude_defaults=True)
        scope.output.data({"token": token, "subject": subject, "expires_at": expires, "services": told})
        return
    typer.echo(token)
    scope.output.note(f"For '{subject}' until {expires}; send it as `Authorization: Bearer …`.")


def _key(scope: Scope, path: Path | None) -> tuple[Any, str]:
    """Return what signs, and how. Raises BadKey."""
    from gateway.tokens import BadKey, check_shared  # noqa: PLC0415 -- needs the extra

    if path is None:
        settings = load_settings(scope)
        if settings.hs256_key is not None:
            return check_shared(settings.hs256_key.get_secret_value()), "HS256"
        path = settings.hs256_key_file
    if path is None:
        raise BadKey("there is no key to sign with: give --key-file, or set POINTSMAN_GATEWAY_HS256_KEY")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadKey(f"{path} cannot be read: {error}") from error
    if "-----BEGIN" in text:
        return text, "EdDSA"
    return check_shared(text), "HS256"
