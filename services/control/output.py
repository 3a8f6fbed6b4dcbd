"""How commands speak: tables for people, JSON for programs, one line for an error."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

# What goes into a file or a pipe is not folded at 80 columns.
PIPED_WIDTH = 180
console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(stderr=True, width=None if sys.stderr.isatty() else PIPED_WIDTH)

Row = Mapping[str, object]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show_rows(title: str, rows: Sequence[Row], as_json: bool) -> None:
    """A listing. The first row's keys are the columns; JSON is one array."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    if not rows:
        console.print(f"No {title}.")
        return
    table = Table(title=title[0].upper() + title[1:], title_justify="left")
    for column in rows[0]:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    console.print(table)


def show_facts(title: str, facts: Row, as_json: bool) -> None:
    """One thing's facts, a line each; JSON is one object."""
    if as_json:
        print_json(dict(facts))
        return
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), cell(value))
    console.print(table)


def print_json(value: object) -> None:
    """Plain JSON on standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, indent=1) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def cell(value: object) -> str:
    """A value as a table shows it; brackets in people's texts are no markup."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case float():
            return f"{value:.4g}"
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        case list() | tuple():
            return "\n".join(cell(item) for item in value)
        case dict():
            return ", ".join(f"{escape(str(key))} {cell(item)}" for key, item in value.items())
        case _:
            return escape(str(value))
