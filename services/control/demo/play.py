"""The demo from beginning to end. Nothing is staged: what is shown is read from the topics and from HTTP answers."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.endpoints import Endpoints
from deploy.local.stack import Stack
from services.control import audit
from services.control.demo import accuracy, report
from services.control.demo.queries import QueryStream, Tally
from services.control.demo.screen import Screen
from services.control.demo.story import WINDOW_ROWS, Chapter, Review, Story, load_story
from services.control.demo.watch import Watch
from services.control.output import console, show_facts
from services.control.publish import publish
from services.control.session import Session
from services.control.stack import addresses
from shared.errors import ConfigurationError, ExitCode, UnreachableError
from shared.registry import Registry
from shared.settings import Settings

SETTINGS = {
    # A row is cheap to score and dear to train on, so the demo holds many out.
    "TIDEMILL_INGESTOR__SPLIT__HOLDOUT_SHARE": "450",
    "TIDEMILL_INGESTOR__WINDOW__TRIGGERS": json.dumps([{"kind": "count", "rows": WINDOW_ROWS}]),
}
FOLDER = "demo"
LOOK_SECONDS = 0.25
# Time without any progress after which a chapter has failed: a slow machine trains one window in a few minutes.
CHAPTER_SECONDS = 900.0
# Readings of the open window, this far apart and equal, after which what is still missing was set aside.
QUIET_SECONDS = 3.0
CATCH_UP_SECONDS = 60.0


class DemoFailedError(UnreachableError):
    """The story came to a halt."""

    exit_code = ExitCode.CRASHED


def play(session: Session, report_file: Path | None, keep: bool) -> int:
    """Plays the demo and returns the exit code: 0 if every request was answered and every review accounted for.

    Raises:
        ConfigurationError: A demo is running, or its data sets are missing.
        DemoFailedError: A window was not decided in time.
    """
    story, stack = load_story(), Stack(session.local.home / FOLDER)
    _clear(stack)
    with Screen(console, story) as screen:
        screen.say("starting Kafka, MLflow and the four services")
        endpoints = stack.up(on_change=screen.starting, env=SETTINGS)
        try:
            found = _perform(Session(stack.home, session.prefix), stack, endpoints, story, screen)
        finally:
            if not keep:
                screen.say("stopping everything")
                stack.down()
    console.print(report.tables(found))
    _tell_addresses(stack, endpoints, keep)
    if report_file:
        report_file.write_text(found.model_dump_json(indent=1) + "\n")
    return _exit_code(found)


def _clear(stack: Stack) -> None:
    """Begins with nothing: the story is about a first day."""
    if stack.is_running:
        raise ConfigurationError(f"a demo is running on {stack.home}; stop it: tidemill --home {stack.home} down")
    shutil.rmtree(stack.home, ignore_errors=True)
    stack.home.mkdir(parents=True)


def _perform(session: Session, stack: Stack, endpoints: Endpoints, story: Story, screen: Screen) -> report.DemoReport:
    watch = Watch(session.settings)
    queries = QueryStream(endpoints.server_url, [review.text for review in story.movies])
    queries.start()
    stage = _Stage(session.settings, endpoints, watch, queries, screen)
    try:
        for number, chapter in enumerate(story.chapters):
            stage.play(number, chapter)
        stage.await_last_champion()
    finally:
        tally = queries.stop()
        watch.close()
    return _report(session, stack, story, watch, tally, screen)


class _Stage:
    """One chapter after the other: publish, wait for the window, wait for the decision."""

    def __init__(
        self, settings: Settings, endpoints: Endpoints, watch: Watch, queries: QueryStream, screen: Screen
    ) -> None:
        self._settings, self._endpoints, self._watch = settings, endpoints, watch
        self._queries, self._screen = queries, screen

    def play(self, number: int, chapter: Chapter) -> None:
        """Publishes one chapter and waits until its model is decided."""
        self._publish(chapter.title, chapter.rows)
        self._close_window(number, chapter)
        window = self._watch.windows[number]
        self._screen.say(f"{chapter.title}: window {window.window_id} closed with {window.kept} rows; training")
        self._wait(
            lambda: window.window_id in self._watch.decisions, CHAPTER_SECONDS, f"a decision on {window.window_id}"
        )
        decision = self._watch.decisions[window.window_id]
        self._screen.say(f"{chapter.title}: {decision.verdict.value}: {'; '.join(decision.reasons)}")

    def await_last_champion(self) -> None:
        """Waits until the last promoted version answers."""
        if self._watch.champions:
            newest = self._watch.champions[-1]
            self._wait(lambda: newest in self._queries.tally.first_answer, CATCH_UP_SECONDS, f"an answer by {newest}")

    def _publish(self, title: str, reviews: Sequence[Review]) -> None:
        self._screen.say(f"{title}: publishing {len(reviews)} reviews")
        rows = ({"text": review.text, "label": review.label, "source": review.source} for review in reviews)
        *_, tally = publish(self._settings, rows)
        if tally.acknowledged < len(reviews):
            raise DemoFailedError(f"Kafka acknowledged {tally.acknowledged} of {len(reviews)} reviews")

    def _close_window(self, number: int, chapter: Chapter) -> None:
        """Rows that were set aside or rejected are made up for from the reserve, so that chapters do not mix."""
        reserve = list(chapter.reserve)
        end = time.monotonic() + CHAPTER_SECONDS
        while not self._await_window(number):
            missing = WINDOW_ROWS - int(self._metric("ingestor", "tidemill_open_window_kept_reviews"))
            if not 0 < missing <= len(reserve) or time.monotonic() > end:
                raise DemoFailedError(f"{chapter.title}: the window did not close; see 'tidemill logs ingestor'")
            self._publish(f"{chapter.title}, {missing} more for those set aside", reserve[:missing])
            del reserve[:missing]

    def _await_window(self, number: int) -> bool:
        """Waits while the open window grows; True once the chapter's window is closed."""
        kept, since = -1.0, time.monotonic()
        while len(self._watch.windows) <= number:
            self._look()
            now = self._metric("ingestor", "tidemill_open_window_kept_reviews")
            if now != kept or now == 0:
                kept, since = now, time.monotonic()
            elif time.monotonic() - since > QUIET_SECONDS:
                return False
        return True

    def _wait(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise DemoFailedError(
                    f"waited {seconds:.0f} s for {what}; see 'tidemill logs retrainer' and 'evaluator'"
                )
            self._look()

    def _look(self) -> None:
        self._watch.look()
        self._screen.update(
            self._watch, self._queries.tally, self._metric("retrainer", "tidemill_training_progress_ratio")
        )
        time.sleep(LOOK_SECONDS)

    def _metric(self, service: str, name: str) -> float:
        """One gauge of a service; 0 while it does not answer."""
        try:
            text = httpx.get(self._endpoints.metrics_url(service), timeout=5.0).text
        except httpx.HTTPError:
            return 0.0
        families = (family for family in text_string_to_metric_families(text) if family.name == name)
        return next((sample.value for family in families for sample in family.samples), 0.0)


def _report(
    session: Session, stack: Stack, story: Story, watch: Watch, tally: Tally, screen: Screen
) -> report.DemoReport:
    settings, memory = session.settings, stack.memory_mib()
    screen.say("measuring the champions on reviews that were never published")
    with tempfile.TemporaryDirectory() as folder:
        predictors = accuracy.models(settings, Registry(settings), watch.champions, Path(folder))
        accuracies, samples = accuracy.measure(predictors, story)
    screen.say("auditing")
    audited = audit.run_audit(settings)
    versions = report.version_facts(watch, tally)
    return report.DemoReport(
        windows=report.window_facts(watch),
        versions=versions,
        accuracy=accuracies,
        freshness_seconds=report.median_freshness(versions),
        requests=report.RequestFacts(sent=tally.sent, failed=tally.failed),
        audit=report.audit_facts(audited),
        seconds=screen.seconds,
        memory_mib=memory,
        samples=samples,
    )


def _tell_addresses(stack: Stack, endpoints: Endpoints, keep: bool) -> None:
    if keep:
        show_facts("Still running", addresses(endpoints), as_json=False)
        console.print(f"Stop it: tidemill --home {stack.home} down", soft_wrap=True)
    else:
        console.print(f"Stopped. Look around: tidemill --home {stack.home} up", soft_wrap=True)


def _exit_code(found: report.DemoReport) -> int:
    if found.audit.unaccounted or found.requests.failed:
        return ExitCode.CRASHED
    return ExitCode.STOPPED
