"""The command line: what a person types, and what a script reads."""


def main() -> None:
    """Run `pointsman` with the arguments of this process."""
    from pointsman.cli.app import app  # noqa: PLC0415 -- so that importing the name costs nothing

    app(prog_name="pointsman")
