"""The commands that read back and try otherwise."""

from pathlib import Path
from typing import Annotated

import typer

from services.control import history
from services.control import reproduce as reproducing
from services.control.backtest.policy import LearnerName, current_policy, read_policy
from services.control.output import AsJson, console, print_json, show_rows
from services.control.session import Session


def reproduce(
    context: typer.Context, version: Annotated[str, typer.Argument(help="Model version.")], as_json: AsJson = False
) -> None:
    """Train a version again from its record. Exit code 7 if it does not come out bit-identical."""
    try:
        report = reproducing.reproduce(_session(context).settings, version)
    except reproducing.FailedError as failed:
        raise typer.Exit(failed.exit_code) from failed
    if as_json:
        print_json(report)
    else:
        console.print(reproducing.picture(report))
    raise typer.Exit(reproducing.exit_code(report))


def backtest(
    context: typer.Context,
    policy: Annotated[list[Path] | None, typer.Option(help="TOML like tidemill.toml; may be given again.")] = None,
    learner: Annotated[
        LearnerName, typer.Option(help="linear: a look in seconds. model: the real one.")
    ] = LearnerName.LINEAR,
    out: Annotated[Path | None, typer.Option(help="Folder for table and picture. Default: in the home.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay the recorded windows under other triggers, replay, start and gate settings, beside the current ones."""
    from services.control.backtest import run as backtesting  # loads what draws and judges, which takes seconds

    settings = _session(context).settings
    policies = [current_policy(settings), *(read_policy(file, settings) for file in policy or ())]
    results = backtesting.backtest(settings, history.windows(settings), policies, learner)
    folder = out or settings.home / backtesting.FOLDER / backtesting.RESULTS
    summaries, table, picture = backtesting.write(results, folder)
    if as_json:
        print_json({"table": summaries, "results": str(table), "picture": str(picture)})
        return
    show_rows(f"policies, learned by {learner.value}", [summary.model_dump() for summary in summaries], as_json=False)
    console.print(f"Everything: {table}\nPicture: {picture}", soft_wrap=True)


def _session(context: typer.Context) -> Session:
    session: Session = context.obj
    return session
