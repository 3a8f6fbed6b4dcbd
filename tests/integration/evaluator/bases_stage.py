"""A stage where tests publish windows of unlabelled text and adapted bases, and turn the loop that judges them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.archive import Archive, UnlabeledRow
from shared.classifier.digest import model_digest
from shared.envelope import decode
from shared.events import (
    BaseCandidate,
    BaseDecision,
    CandidateStatus,
    ClosedWindow,
    Side,
    UnlabeledWindow,
    utc_now,
)
from shared.exam import EXAM_FOLDER, PARENT, PROBE_ADAPTED, PROBE_PARENT
from shared.kafka import read_topic
from shared.registry import BASE, Registry
from shared.topics import BASES_CANDIDATES, BASES_DECISIONS, WINDOWS_UNLABELED
from tests.integration.evaluator.stage import Running, Stage
from tests.models import answering, knowing, tiny_masked
from tests.unit.evaluator.bases.builders import text_window, text_window_id

TEXTS = 30
ENTRIES = "base_ledger_number"


@dataclass(frozen=True)
class Adapted:
    """What an adaptation leaves: the base, and what it is compared with."""

    model: Path
    exam: Path


@dataclass(frozen=True)
class Adaptations:
    """Tiny ones, named by how they do against their parent on a stage's reviews."""

    better: Adapted
    worse: Adapted
    alike: Adapted


def make_adaptations(folder: Path) -> Adaptations:
    """Bases that expect the stage's words more, less, or as often as their parent."""
    parent = tiny_masked(folder / "parent")
    probes = {label: answering(folder / label, label) for label in ("negative", "positive")}
    texts = [_text(number) for number in range(TEXTS)]
    bases = {
        "better": knowing(folder / "better", texts),
        "worse": knowing(folder / "worse", texts, strength=-1.0),
        "alike": parent,
    }
    return Adaptations(
        **{name: _adapted(folder / f"{name}-exam", base, parent, probes) for name, base in bases.items()}
    )


def _adapted(exam: Path, base: Path, parent: Path, probes: dict[str, Path]) -> Adapted:
    """The adapted base's classifier is right about every window whose label is positive, its parent's never."""
    for name, source in ((PARENT, parent), (PROBE_PARENT, probes["negative"]), (PROBE_ADAPTED, probes["positive"])):
        shutil.copytree(source, exam / name)
    return Adapted(base, exam)


class BasesStage(Stage):
    """One stream."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.bases = Registry(self.settings, model=self.settings.stream.registered_base)
        self._texts = 0

    # What others publish

    def text_window(self, rows: int = TEXTS) -> UnlabeledWindow:
        """Closes a window of held-out text."""
        sequence, now = self._texts, utc_now()
        self._texts += 1
        window_id, first = text_window_id(sequence), 1000 * sequence
        reviews = [
            UnlabeledRow(first + place, str(place), _text(first + place), Side.HOLDOUT, None, None, 0, place, now)
            for place in range(rows)
        ]
        snapshot = Archive(self.settings).write_unlabeled(window_id, reviews)
        manifest = text_window(sequence, sides={Side.HOLDOUT: rows}, kept=rows, snapshot=snapshot)
        self._send(WINDOWS_UNLABELED, window_id, manifest)
        return manifest

    def adapted(self, window: UnlabeledWindow, labelled: ClosedWindow, files: Adapted) -> BaseCandidate:
        """Registers a base as the window's, without telling the evaluator."""
        run_id = self.registry.run_of_window(window.window_id, window.window_id)
        source = self.bases.upload_model(run_id, files.model)
        self.bases.upload(run_id, files.exam, EXAM_FOLDER)
        return BaseCandidate(
            window_id=window.window_id,
            window_ids=(window.window_id,),
            status=CandidateStatus.READY,
            version=self.bases.register(window.window_id, run_id, source, {}).version,
            run_id=run_id,
            model_digest=model_digest(files.model),
            exam_digest=model_digest(files.exam),
            probe_window_ids=(labelled.window_id,),
            created_at=utc_now(),
        )

    def adapt(self, files: Adapted) -> BaseCandidate:
        """Registers and publishes a base, with windows of both kinds of its own."""
        candidate = self.adapted(self.text_window(), self.window(label=1), files)
        self.publish_base(candidate)
        return candidate

    def publish_base(self, candidate: BaseCandidate) -> None:
        """Tells the evaluator."""
        self._send(BASES_CANDIDATES, candidate.window_id, candidate)

    # What came out

    def base_decisions(self) -> list[BaseDecision]:
        """The ledger of bases as anybody reads it."""
        records = read_topic(self.settings, "reader", BASES_DECISIONS)
        return [decode(BaseDecision, record.value, record.where()) for record in records]

    def base_story(self) -> list[tuple[int, str | None, str, str | None]]:
        """(number, version, verdict, base in use after) of every entry."""
        return [(each.number, each.version, each.verdict.value, each.base_after) for each in self.base_decisions()]

    def base(self) -> str | None:
        """What the alias names."""
        return self.bases.aliased(BASE)

    def has_exam(self, candidate: BaseCandidate) -> bool:
        """Whether the run still holds what the base is compared with."""
        found = self.bases._client.list_artifacts(str(candidate.run_id))
        return any(item.path == EXAM_FOLDER for item in found)


def until_base_entry(evaluator: Running, number: int) -> None:
    """Turns the loop until the ledger of bases has so many entries."""
    evaluator.until_entry(number, ENTRIES)


def _text(number: int) -> str:
    return f"the film was good and the plot was slow , number {number}"
