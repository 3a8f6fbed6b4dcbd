"""The demo's one screen, redrawn as things happen; without a terminal, a line for each thing that happens."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.local.endpoints import Endpoints
from services.control.demo.queries import Tally
from services.control.demo.story import Story
from services.control.demo.watch import Watch
from services.control.output import cell
from services.control.stack import process_table
from shared.events import Verdict

COLOURS = {Verdict.PROMOTE: "green", Verdict.REJECT: "red", Verdict.UNDECIDED: "yellow", Verdict.ROLLBACK: "red"}
TEXT_CHARS = 90


class Screen:
    """Shows the state that others own; owns only what is said about it."""

    def __init__(self, console: Console, story: Story) -> None:
        self._console, self._story = console, story
        self._began, self._said = time.monotonic(), ""
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """What is being done now."""
        self._said = text
        if not self._live:
            self._console.print(f"{self.seconds:5.0f} s  {text}", markup=False, highlight=False, soft_wrap=True)

    def starting(self, endpoints: Endpoints) -> None:
        """A process of the stack changed its state."""
        self._endpoints = endpoints
        if self._live:
            self._live.update(Group(self._headline(), process_table(endpoints)))

    def update(self, watch: Watch, tally: Tally, progress: float) -> None:
        """Redraws. `progress` is that of the training under way, 0 to 1."""
        if self._live:
            self._live.update(Group(self._headline(), self._chapters(watch, progress), self._queries(tally)))

    def _headline(self) -> Text:
        return Text.assemble((f"Tidemill demo, {self.seconds:.0f} s: ", "bold"), self._said)

    def _chapters(self, watch: Watch, progress: float) -> Table:
        table = Table(title="Windows")
        for column in ("chapter", "window", "kept", "model", "verdict", "why"):
            table.add_column(column, overflow="fold")
        for number, chapter in enumerate(self._story.chapters):
            table.add_row(chapter.title, *self._row(watch, number, progress))
        return table

    def _row(self, watch: Watch, number: int, progress: float) -> tuple[str, ...]:
        if number >= len(watch.windows):
            return ("", "", "", "", "")
        window = watch.windows[number]
        candidate, decision = watch.candidates.get(window.window_id), watch.decisions.get(window.window_id)
        model = f"version {candidate.version}" if candidate and candidate.version else f"training {progress:.0%}"
        if decision is None:
            return (window.window_id, str(window.kept), model, "judging…" if candidate else "", "")
        verdict = f"[{COLOURS[decision.verdict]}]{decision.verdict.value}"
        return (window.window_id, str(window.kept), model, verdict, cell("; ".join(decision.reasons)))

    def _queries(self, tally: Tally) -> Text:
        if tally.latest is None:
            return Text("No model in service yet: /readyz says no.")
        text, label, score = tally.latest
        return Text(
            f"{tally.sent} requests, {tally.failed} failed; version {tally.version} says of\n"
            f"“{text[:TEXT_CHARS]}”: {label} ({score:.2f})"
        )
