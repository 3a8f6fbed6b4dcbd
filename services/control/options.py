"""Options that several orders share."""

from typing import Annotated

import typer


def _not_empty(value: str) -> str:
    if not value.strip():
        raise typer.BadParameter("say why: it is recorded for ever")
    return value


Why = Annotated[str, typer.Option(help="Why; recorded for ever.", callback=_not_empty)]
Who = Annotated[str | None, typer.Option(help="Who orders it. Default: your user name.")]
