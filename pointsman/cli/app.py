"""The program, put together; what a command needs it imports when it runs."""

from pointsman.cli import (
    actions,
    commands,
    demo,
    dlq,
    doctor,
    gateway,
    rooms,
    schemas,
    services,
    tokens,
    worker,
)
from pointsman.cli.frame import group

app = group(
    "pointsman",
    "Event-driven control of container services over Redis streams: commands in, one effect each, state out.",
)
actions.register()
demo.register(app)
for _group in (
    worker.app,
    services.app,
    commands.app,
    dlq.app,
    gateway.app,
    rooms.app,
    tokens.app,
    schemas.app,
):
    app.add_typer(_group)
doctor.register(app)
