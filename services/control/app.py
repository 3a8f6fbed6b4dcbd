"""The `tidemill` command. Each subcommand is a few lines here; the work is in the module that it names."""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.control import explain as explanations
from services.control import history, orders, pages
from services.control import publish as publishing
from services.control import stack as stacks
from services.control.bases import bases
from services.control.canary import canary
from services.control.options import Who, Why
from services.control.output import AsJson, console, errors, print_json, show_facts, show_rows
from services.control.readback import backtest, reproduce
from services.control.rebuild import rebuild
from services.control.session import RefusedError, Session
from shared.errors import ExitCode, FatalError, TidemillError
from shared.events import ClosedWindow, CommandKind, Decision, UnlabeledWindow
from shared.kafka import Admin, offset_range
from shared.topics import ALL_TOPICS

SETTLE_SECONDS = 60.0

app = typer.Typer(
    name="tidemill",
    help="Streaming continuous training: labelled reviews in, a gated and traceable model out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
window_app = typer.Typer(no_args_is_help=True, help="Orders about windows.")
app.add_typer(window_app, name="window")
app.command()(bases)
app.command()(reproduce)
app.command()(backtest)
app.command()(rebuild)
app.command()(canary)


def session_of(context: typer.Context) -> Session:
    """The session that the main callback made."""
    session: Session = context.obj
    return session


@app.callback()
def begin(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="Folder of the local stack. Default: .tidemill")] = None,
    prefix: Annotated[str | None, typer.Option(help="The stream's prefix, if not the configured one.")] = None,
) -> None:
    """Streaming continuous training: labelled reviews in, a gated and traceable model out."""
    context.obj = Session(home, prefix)


@app.command()
def publish(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="JSONL, CSV or Parquet; - for standard input.")],
    file_format: Annotated[
        publishing.FileFormat | None, typer.Option("--format", help="If the ending says it not.")
    ] = None,
    mapping: Annotated[list[str] | None, typer.Option("--map", help="FIELD=COLUMN, e.g. --map text=review.")] = None,
    source: Annotated[str | None, typer.Option(help="Source of rows that name none.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Publish the first rows only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish labelled reviews to `reviews.labeled`."""
    settings = session_of(context).settings
    columns = publishing.parse_mapping(mapping or ())
    rows = islice(publishing.read_rows(file, publishing.format_of(file, file_format)), limit)
    reviews = (publishing.review_of(row, columns) for row in rows)
    tally = _with_progress(publishing.publish(settings, reviews, source))
    facts = {"sent": tally.sent, "acknowledged": tally.acknowledged, "refused": len(tally.refused)}
    for line in tally.refused:
        errors.print(f"refused {line}", markup=False, soft_wrap=True)
    if as_json:
        print_json(facts)
    else:
        console.print(
            f"{tally.acknowledged:,} of {tally.sent:,} reviews acknowledged by Kafka, {len(tally.refused)} refused."
        )
    if tally.broke_off:
        raise tally.broke_off
    if tally.refused or tally.acknowledged < tally.sent:
        raise typer.Exit(ExitCode.CRASHED)


def _with_progress(tallies: Any) -> publishing.Tally:
    """Shows the tally as it grows; returns the last one."""
    tally = publishing.Tally()
    columns = (SpinnerColumn(), TextColumn("publishing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("publishing", total=None)
        for tally in tallies:
            progress.update(task, completed=tally.acknowledged, total=tally.sent)
    return tally


@app.command()
def predict(
    context: typer.Context,
    texts: Annotated[list[str], typer.Argument(help="Texts to classify; - reads lines from standard input.")],
    as_json: AsJson = False,
) -> None:
    """Ask the model in service."""
    asked = [line.rstrip("\n") for line in sys.stdin] if texts == ["-"] else texts
    response = session_of(context).ask_server("POST", "/v1/predict", {"texts": asked})
    body = response.json()
    if response.status_code != 200:
        raise RefusedError(f"the server says {response.status_code}: {body.get('detail') or body.get('title')}")
    if as_json:
        print_json(body)
        return
    rows = [
        {"text": text[:80], "label": found["label"], "score": found["score"], "prediction_id": found["prediction_id"]}
        for text, found in zip(asked, body["predictions"], strict=True)
    ]
    show_rows(f"predictions by version {body['model']['version']}", rows, as_json=False)


Unlabeled = Annotated[bool, typer.Option("--unlabeled", help="Windows of text without labels instead.")]


@app.command()
def windows(context: typer.Context, unlabeled: Unlabeled = False, as_json: AsJson = False) -> None:
    """List closed windows."""
    settings = session_of(context).settings
    if unlabeled:
        rows = [_window_row(window, as_json) for window in history.unlabeled_windows(settings)]
        show_rows("windows of unlabelled text", rows, as_json)
        return
    rows = [
        _window_row(window, as_json) | {"labels": window.labels, "trainable": window.trainable}
        for window in history.windows(settings)
    ]
    show_rows("windows", rows, as_json)


def _window_row(window: ClosedWindow | UnlabeledWindow, as_json: bool) -> dict[str, object]:
    """The columns that windows of both kinds have; of sources there may be too many for a table."""
    sources = {"sources": window.sources} if as_json else {}
    return sources | {
        "window": window.window_id,
        "closed": window.closed_at,
        "trigger": window.trigger,
        "reviews": window.reviews,
        "kept": window.kept,
        "set_aside": len(window.set_aside),
        "sides": {side.value: count for side, count in window.sides.items()},
        "offsets": f"{window.first_offset}-{window.last_offset}",
    }


@window_app.command("list")
def window_list(context: typer.Context, unlabeled: Unlabeled = False, as_json: AsJson = False) -> None:
    """List closed windows."""
    windows(context, unlabeled, as_json)


@window_app.command("close")
def window_close(context: typer.Context, why: Why, who: Who = None) -> None:
    """Close the open window now, whatever its size."""
    settings = session_of(context).settings
    before = len(history.windows(settings))
    orders.issue(settings, CommandKind.CLOSE_WINDOW, None, who, why)
    if not orders.wait_for(lambda: len(history.windows(settings)) > before, SETTLE_SECONDS):
        raise RefusedError("ordered, but no window closed: it is empty, or the ingestor is not running")
    newest = history.windows(settings)[-1]
    console.print(f"Closed {newest.window_id} with {newest.kept} of {newest.reviews} reviews kept.")


@window_app.command("release")
def window_release(
    context: typer.Context, window: Annotated[str, typer.Argument(help="Window id.")], why: Why, who: Who = None
) -> None:
    """Trust a quarantined window again."""
    settings = session_of(context).settings
    quarantined = {entry.window_id for entry in history.decisions(settings) if entry.quarantined}
    if window not in quarantined:
        raise RefusedError(
            f"window {window} is not quarantined; quarantined: {', '.join(map(str, quarantined)) or 'none'}"
        )
    orders.issue(settings, CommandKind.RELEASE_WINDOW, window, who, why)
    console.print(f"Released {window}: its rows may be replayed and held out again.")


@app.command()
def versions(context: typer.Context, as_json: AsJson = False) -> None:
    """List model versions with their latest verdicts."""
    session = session_of(context)
    registry, verdicts = session.registry(), {entry.version: entry for entry in history.decisions(session.settings)}
    champion = registry.champion()
    rows = [
        {
            "version": version.version,
            "champion": version.version == champion,
            "created": version.created_at,
            "verdict": _verdict(verdicts.get(version.version)),
            "windows": version.tags.get("tidemill.window_ids"),
            "parent": version.tags.get("tidemill.parent_version"),
        }
        for version in registry.versions()
    ]
    show_rows("versions", rows, as_json)


def _verdict(entry: Decision | None) -> str | None:
    return entry.verdict.value if entry else None


@app.command()
def decisions(context: typer.Context, as_json: AsJson = False) -> None:
    """List the ledger: every decision and why."""
    ledger = history.decisions(session_of(context).settings)
    if as_json:
        print_json(ledger)
        return
    rows = [
        {
            "number": entry.number,
            "version": entry.version,
            "window": entry.window_id,
            "verdict": entry.verdict,
            "need": entry.need_rows,
            "champion": f"{entry.champion_before or '-'} -> {entry.champion_after or '-'}",
            "by": entry.decided_by,
            "reasons": entry.reasons,
        }
        for entry in ledger
    ]
    show_rows("decisions", rows, as_json=False)


@app.command()
def rejected(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only records rejected for this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List records that were no reviews, and why."""
    found = history.rejected(session_of(context).settings, reason, limit)
    rows = [
        {"offset": r.offset, "origin": r.origin, "reason": r.reason, "detail": r.detail, "preview": r.preview}
        for r in found
    ]
    show_rows("rejected records", rows, as_json)


@app.command()
def explain(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="VERSION|WINDOW", help="Model version, or window id.")],
    opened: Annotated[bool, typer.Option("--open", help="Open the decision's page, and those of rollbacks.")] = False,
    page: Annotated[Path | None, typer.Option(help="Write the decision's page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a version learned from and why it was promoted or not; or what came of a window."""
    session = session_of(context)
    if opened or page:
        _show_pages(session, name, opened, page)
        return
    is_version = explanations.is_version(name)
    facts = explanations.explain(session, name) if is_version else explanations.explain_window(session, name)
    if as_json:
        print_json(facts)
    elif is_version:
        console.print(explanations.picture(facts))
    else:
        console.print(explanations.window_picture(name, facts))


def _show_pages(session: Session, name: str, opened: bool, page: Path | None) -> None:
    files = [pages.keep_page(session, name, page), *(pages.keep_rollback_pages(session, name) if opened else [])]
    for file in files:
        console.print(f"Page of {name}: {file}", markup=False, soft_wrap=True)
    if opened and not all(map(pages.show_page, files)):
        errors.print("There is no browser here; open the file where there is one.")


@app.command()
def audit(context: typer.Context, as_json: AsJson = False) -> None:
    """Prove from the topics that no review is lost or counted twice. Exit code 1 if one is."""
    from services.control import audit as audits  # loads what reads snapshots, which takes a moment

    report = audits.run_audit(session_of(context).settings)
    if as_json:
        print_json(report)
    else:
        show_facts("Audit", report.model_dump(), as_json=False)
    if not report.ok:
        raise typer.Exit(ExitCode.CRASHED)


@app.command()
def rollback(
    context: typer.Context,
    why: Why,
    to: Annotated[str | None, typer.Option(help="A former champion. Default: the one before.")] = None,
    who: Who = None,
) -> None:
    """Put an earlier champion back in service."""
    settings = session_of(context).settings
    orders.check_rollback(history.decisions(settings), to)
    command = orders.issue(settings, CommandKind.ROLLBACK, to, who, why)

    def entry() -> Decision | None:
        return next((e for e in history.decisions(settings) if e.command_id == command.command_id), None)

    if not orders.wait_for(lambda: entry() is not None, SETTLE_SECONDS):
        raise RefusedError("ordered, but not carried out yet; is the evaluator running? See 'tidemill status'")
    done = entry()
    assert done is not None
    console.print(f"Champion {done.champion_before} -> {done.champion_after}, entry {done.number} of the ledger.")


@app.command()
def topics(
    context: typer.Context,
    create: Annotated[bool, typer.Option("--create", help="Create the topics that are missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """List topics with their sizes, or create what is missing."""
    settings = session_of(context).settings
    admin = Admin(settings)
    created = admin.create_topics() if create else []
    rows = []
    for topic in ALL_TOPICS:
        partitions = admin.partitions(topic)
        spans = offset_range(settings, topic) if partitions else {}
        rows.append(
            {
                "topic": topic.full_name(settings.stream.prefix),
                "partitions": partitions or "missing",
                "offsets": sum(end - beginning for beginning, end in spans.values()),
                "kept": "compacted" if topic.compact else _days(topic.retention_ms),
                "meaning": topic.summary,
            }
        )
    admin.close()
    for name in created:
        errors.print(f"created {name}")
    show_rows("topics", rows, as_json)


def _days(milliseconds: int) -> str:
    return "for ever" if milliseconds < 0 else f"{milliseconds // 86_400_000} days"


@app.command()
def up(context: typer.Context) -> None:
    """Start the local stack: Kafka, MLflow, the four services, and Prometheus where it is installed."""
    stacks.up(session_of(context))


@app.command()
def down(context: typer.Context) -> None:
    """Drain and stop the local stack. Its data stays; `up` carries on with it."""
    stacks.down(session_of(context))


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the local stack's processes and addresses, and who serves what. Exit code 1 if a server does not follow."""
    if not stacks.status(session_of(context), as_json):
        raise typer.Exit(ExitCode.CRASHED)


@app.command()
def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="ingestor, retrainer, evaluator, server, kafka, mlflow, supervisor, …")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of the past.")] = 50,
) -> None:
    """Show a process's log."""
    stacks.logs(session_of(context), name, follow, lines)


@app.command()
def demo(
    context: typer.Context,
    report: Annotated[Path | None, typer.Option(help="Write the result as JSON, too.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards.")] = False,
) -> None:
    """Play the whole story on real reviews, in a stack of its own."""
    from services.control.demo import play

    if report and not report.absolute().parent.is_dir():
        raise RefusedError(f"there is no folder {report.absolute().parent} for the report")
    raise typer.Exit(play.play(session_of(context), report, keep))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. An error is one line on standard error and an exit code; never a traceback."""
    try:
        app(args=arguments)
    except TidemillError as error:
        errors.print(f"tidemill: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(int(error.exit_code if isinstance(error, FatalError) else ExitCode.UNREACHABLE))
