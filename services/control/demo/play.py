"""The demo from beginning to end. Nothing is staged: what is shown is read from the topics and from HTTP answers."""

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
from services.control.demo.queries import TIMEOUT_SECONDS, QueryStream, Tally
from services.control.demo.screen import Screen
from services.control.demo.story import WINDOW_ROWS, Chapter, Review, Story, load_story
from services.control.demo.watch import Watch
from services.control.output import console, show_facts
from services.control.publish import publish
from services.control.session import Session
from services.control.stack import addresses
from shared.errors import ConfigurationError, ExitCode, UnreachableError
from shared.registry import Registry
from shared.settings import CONFIG_VARIABLE, Settings

# A row is cheap to score and dear to train on, so the demo holds many out. It replays as many rows as are new: its
# windows are small, and products alone would wash out what was learned of movies. Each chapter is one window, so drift
# must not cut it; and half of the reviews are enough to watch, which leaves the processor to training.
SETTINGS = f"""\
home = "{{home}}"

[training]
replay_share = 1.0

[evaluator.monitor]
close_on_drift = false
sample = 0.2

[ingestor.split]
holdout_share = 450

[[ingestor.window.triggers]]
kind = "count"
rows = {WINDOW_ROWS}
"""
SETTINGS_FILE = "tidemill.toml"
FOLDER = "demo"
LOOK_SECONDS = 0.25
# Time without any progress after which a chapter has failed: a slow machine trains one window in a few minutes.
CHAPTER_SECONDS = 900.0
# Without lag and without change for so long, what is still missing in the open window was set aside.
QUIET_SECONDS = 3.0
CATCH_UP_SECONDS = 60.0
# Adding up the memory of a process costs milliseconds.
WEIGH_SECONDS = 3.0


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
    _refuse_external(session.local)
    _clear(stack)
    with Screen(console, story) as screen:
        screen.say("starting Kafka, MLflow and the four services")
        endpoints = stack.up(on_change=screen.starting, env={CONFIG_VARIABLE: str(_settings_file(stack))})
        try:
            found = _perform(Session(stack.home, prefix=None), stack, endpoints, story, screen)
        finally:
            if not keep:
                screen.say("stopping everything")
                stack.down()
    if report_file:
        report_file.write_text(found.model_dump_json(indent=1) + "\n")
    console.print(report.tables(found))
    _tell_addresses(stack, endpoints, keep)
    return _exit_code(found)


def _refuse_external(settings: Settings) -> None:
    """Wrong labels are published on purpose: never to a Kafka, registry or archive that others use."""
    external = {
        "kafka.bootstrap_servers": settings.kafka.bootstrap_servers,
        "registry.tracking_uri": settings.registry.tracking_uri,
        "archive.url": settings.archive.url,
    }
    if named := [name for name, value in external.items() if value is not None]:
        raise ConfigurationError(f"the demo runs on a stack of its own; unset {', '.join(named)} for it")


def _clear(stack: Stack) -> None:
    """Begins with nothing: the story is about a first day."""
    if stack.is_running:
        raise ConfigurationError(f"a demo is running; stop it: {CONFIG_VARIABLE}={_settings_file(stack)} tidemill down")
    shutil.rmtree(stack.home, ignore_errors=True)
    stack.home.mkdir(parents=True)
    _settings_file(stack).write_text(SETTINGS.format(home=stack.home))


def _settings_file(stack: Stack) -> Path:
    return stack.home / SETTINGS_FILE


def _perform(session: Session, stack: Stack, endpoints: Endpoints, story: Story, screen: Screen) -> report.DemoReport:
    watch = Watch(session.settings)
    queries = QueryStream(session.server_client(TIMEOUT_SECONDS), [review.text for review in story.movies])
    queries.start()
    stage = _Stage(session.settings, stack, endpoints, watch, queries, screen)
    try:
        for number, chapter in enumerate(story.chapters):
            stage.play(number, chapter)
        stage.await_last_champion()
    finally:
        tally = queries.stop()
        watch.close()
    return _report(session.settings, story, watch, tally, screen, stage.memory_mib)


class _Stage:
    """One chapter after the other: publish, wait for the window, wait for the decision."""

    def __init__(
        self,
        settings: Settings,
        stack: Stack,
        endpoints: Endpoints,
        watch: Watch,
        queries: QueryStream,
        screen: Screen,
    ) -> None:
        self._settings, self._endpoints, self._watch = settings, endpoints, watch
        self._queries, self._screen, self._stack = queries, screen, stack
        self.memory_mib: dict[str, float] = {}
        self._weighed_at = 0.0

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
        reserve, end = list(chapter.reserve), time.monotonic() + CHAPTER_SECONDS
        while not self._await_window(number, chapter.title, end):
            missing = WINDOW_ROWS - self._kept()
            if not 0 < missing <= len(reserve):
                raise DemoFailedError(f"{chapter.title}: {missing} rows are missing to close the window")
            self._publish(f"{chapter.title}, {missing} more for those set aside", reserve[:missing])
            del reserve[:missing]

    def _await_window(self, number: int, title: str, end: float) -> bool:
        """True once the chapter's window is closed; False if all that was published is in it and it is still open."""
        kept, since = self._kept(), time.monotonic()
        while len(self._watch.windows) <= number:
            if time.monotonic() > end:
                raise DemoFailedError(f"{title}: the window did not close; see 'tidemill logs ingestor'")
            self._look()
            if self._kept() != kept or not kept or self._metric("ingestor", "tidemill_consumer_lag_records"):
                kept, since = self._kept(), time.monotonic()
            elif time.monotonic() - since > QUIET_SECONDS:
                return False
        return True

    def _kept(self) -> int:
        return int(self._metric("ingestor", "tidemill_open_window_kept_reviews"))

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
        self._weigh()
        time.sleep(LOOK_SECONDS)

    def _weigh(self) -> None:
        """Keeps the most that each process, its children included, was seen to hold."""
        if time.monotonic() - self._weighed_at < WEIGH_SECONDS:
            return
        self._weighed_at = time.monotonic()
        for name, mib in self._stack.memory_mib().items():
            self.memory_mib[name] = max(mib, self.memory_mib.get(name, 0.0))

    def _metric(self, service: str, name: str) -> float:
        """A gauge of a service, summed over its labels; 0 while the service does not answer."""
        try:
            text = httpx.get(self._endpoints.metrics_url(service), timeout=5.0).text
        except httpx.HTTPError:
            return 0.0
        families = (family for family in text_string_to_metric_families(text) if family.name == name)
        return sum(sample.value for family in families for sample in family.samples)


def _report(
    settings: Settings, story: Story, watch: Watch, tally: Tally, screen: Screen, memory_mib: dict[str, float]
) -> report.DemoReport:
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
        memory_mib=memory_mib,
        samples=samples,
    )


def _tell_addresses(stack: Stack, endpoints: Endpoints, keep: bool) -> None:
    configured = f"{CONFIG_VARIABLE}={_settings_file(stack)} tidemill"
    if keep:
        show_facts("Still running", addresses(endpoints), as_json=False)
        console.print(f"Look around: {configured} status. Stop it: {configured} down", soft_wrap=True, highlight=False)
    else:
        console.print(f"Stopped. Look around: {configured} up", soft_wrap=True, highlight=False)


def _exit_code(found: report.DemoReport) -> int:
    return ExitCode.STOPPED if found.audit.ok and not found.requests.failed else ExitCode.CRASHED
