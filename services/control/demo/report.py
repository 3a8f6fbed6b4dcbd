"""What the demo found, as facts for programs (`--report`) and as tables for people."""

from collections.abc import Mapping
from statistics import median

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType
from rich.table import Table

from services.control.audit import AuditReport
from services.control.demo.queries import Tally
from services.control.demo.watch import Watch
from services.control.output import cell
from shared.events import Verdict

MODELS = ("baseline", "first", "last")


class Facts(BaseModel):
    """Anything in the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WindowFacts(Facts):
    """One closed window."""

    id: str
    rows: int = Field(description="Kept rows.")
    trigger: str


class VersionFacts(Facts):
    """One decision."""

    version: str | None
    window_id: str | None
    verdict: Verdict
    reason: str
    freshness_seconds: float | None = Field(None, description="Newest label published -> first answer; if promoted.")


class RequestFacts(Facts):
    """The stream of queries."""

    sent: int
    failed: int


class AuditFacts(Facts):
    """The accounting."""

    published: int
    curated: int
    rejected: int
    windowed: int
    open: int
    unaccounted: int
    doubled: int
    problems: tuple[str, ...]
    ok: bool


class SampleAnswer(Facts):
    """One review, asked of the first and the last champion."""

    text: str
    truth: str
    first: str
    last: str


Accuracy = Mapping[str, Mapping[str, float]]


class DemoReport(Facts):
    """The demo's result; `--report` writes it as JSON."""

    windows: tuple[WindowFacts, ...]
    versions: tuple[VersionFacts, ...]
    accuracy: dict[str, dict[str, float]] = Field(description="movies, products -> baseline, first, last.")
    freshness_seconds: float | None = Field(description="Median over promotions.")
    requests: RequestFacts
    audit: AuditFacts
    seconds: float
    memory_mib: dict[str, float] = Field(description="The most each process was seen to hold, its children included.")
    samples: tuple[SampleAnswer, ...] = ()


def window_facts(watch: Watch) -> tuple[WindowFacts, ...]:
    """The closed windows."""
    return tuple(WindowFacts(id=w.window_id, rows=w.kept, trigger=w.trigger.value) for w in watch.windows)


def version_facts(watch: Watch, tally: Tally) -> tuple[VersionFacts, ...]:
    """The decisions, with how fresh each promoted model was when it first answered."""
    published = {window.window_id: window.last_published_at for window in watch.windows}
    facts = []
    for entry in watch.decisions.values():
        answered = tally.first_answer.get(entry.version or "")
        known = answered is not None and entry.window_id in published and entry.verdict is Verdict.PROMOTE
        seconds = (
            (answered - published[entry.window_id]).total_seconds() if known and answered and entry.window_id else None
        )
        facts.append(
            VersionFacts(
                version=entry.version,
                window_id=entry.window_id,
                verdict=entry.verdict,
                reason="; ".join(entry.reasons),
                freshness_seconds=seconds,
            )
        )
    return tuple(facts)


def median_freshness(versions: tuple[VersionFacts, ...]) -> float | None:
    """The middle one; None if nothing was promoted and answered."""
    known = [version.freshness_seconds for version in versions if version.freshness_seconds is not None]
    return median(known) if known else None


def audit_facts(report: AuditReport) -> AuditFacts:
    """The audit's counts that the report keeps."""
    return AuditFacts(
        published=report.published,
        curated=report.curated,
        rejected=report.rejected,
        windowed=report.windowed,
        open=report.open,
        unaccounted=report.unaccounted,
        doubled=report.doubled,
        problems=tuple(report.problems),
        ok=report.ok,
    )


def tables(report: DemoReport) -> RenderableType:
    """The end of the story, for people."""
    return Group(_verdicts(report), _accuracies(report), _samples(report), _sums(report))


def _verdicts(report: DemoReport) -> Table:
    table = _table("Windows and verdicts", "window", "rows", "closed by", "version", "verdict", "reason")
    versions = {version.window_id: version for version in report.versions}
    for window in report.windows:
        version = versions.get(window.id)
        decided = (cell(version.version), version.verdict.value, cell(version.reason)) if version else ("-", "-", "-")
        table.add_row(window.id, str(window.rows), window.trigger, *decided)
    return table


def _accuracies(report: DemoReport) -> Table:
    table = _table("Accuracy on reviews that no model saw", "reviews", "baseline", "first champion", "last champion")
    for rows, found in report.accuracy.items():
        table.add_row(rows, *(f"{found[model]:.3f}" if model in found else "-" for model in MODELS))
    return table


def _samples(report: DemoReport) -> Table:
    table = _table("Some answers", "review", "truth", "first champion", "last champion")
    for sample in report.samples:
        table.add_row(cell(sample.text), sample.truth, sample.first, sample.last)
    return table


def _sums(report: DemoReport) -> Table:
    table = Table(title="In all", title_justify="left", show_header=False)
    fresh = f"{report.freshness_seconds:.0f} s" if report.freshness_seconds is not None else "-"
    table.add_row("from label published to first answer by its model", fresh)
    table.add_row("requests", f"{report.requests.sent} sent, {report.requests.failed} failed")
    table.add_row("audit", cell(report.audit.model_dump(exclude={"problems"})))
    table.add_row("time", f"{report.seconds:.0f} s")
    table.add_row("memory", f"{sum(report.memory_mib.values()):.0f} MiB: {cell(report.memory_mib)}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
