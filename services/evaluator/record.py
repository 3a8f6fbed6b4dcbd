"""What MLflow holds of a decision: the run's artifacts and metrics, and the version's tags that a restart reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from services.evaluator.ledger import Ledger
from shared.errors import LedgerCorruptError, ModelError
from shared.events import BaseDecision, Candidate, Decision
from shared.lineage import Lineage
from shared.registry import DECISION_PAGE, Registry

log = structlog.get_logger("record")

DECISION_TAG, VERDICT_TAG = "tidemill.decision", "tidemill.verdict"
# On the new candidate: all that its sitting decided. Once it is there, a restart finishes that sitting.
SITTING_TAG = "tidemill.sitting"
DECISION_FILE, PICTURES_FOLDER = "decision.json", "decision"

_SITTING = TypeAdapter(tuple[Decision, ...])


def log_picture(registry: Registry, run_id: str, picture: Path) -> None:
    """Keeps one picture with the run; repeating overwrites.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    registry.log_file(run_id, picture, PICTURES_FOLDER)


def log_decision(registry: Registry, run_id: str, decision: Decision | BaseDecision) -> None:
    """Keeps the decision and its metrics with the run; repeating overwrites.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    registry.log_metrics(run_id, run_metrics(decision))
    registry.log_text(run_id, decision.model_dump_json(indent=2), DECISION_FILE)


def log_page(registry: Registry, run_id: str, page: str) -> None:
    """Keeps the page that people read with the run; repeating overwrites.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    registry.log_text(run_id, page, DECISION_PAGE)


def run_metrics(decision: Decision | BaseDecision) -> dict[str, float]:
    """Metrics by `ROWS/MODEL/METRIC`, and the gate's numbers by `gate/NUMBER`."""
    scores = {
        f"{score.rows_name}/{score.model}/{metric}": value
        for score in (decision.scores if isinstance(decision, Decision) else ())
        for metric, value in score.metrics.items()
    }
    return scores | {f"gate/{name}": value for name, value in decision.numbers.items()}


def decision_tags(decision: Decision | BaseDecision) -> dict[str, str]:
    """One tag with the whole decision, written at once, and one for people."""
    return {DECISION_TAG: _json(decision), VERDICT_TAG: decision.verdict.value}


def sitting_tag(decisions: Sequence[Decision]) -> dict[str, str]:
    """All entries of one sitting in one tag."""
    return {SITTING_TAG: f"[{','.join(_json(decision) for decision in decisions)}]"}


def tagged_sitting(
    tags: Mapping[str, str], ledger: Ledger, candidate: Candidate, snapshots: Mapping[str, str]
) -> tuple[Decision, ...]:
    """The decisions that were reached before a crash; empty unless they still continue the ledger.

    An operator's rollback may have come in between; then the version is judged again, against the champion of now. And
    MLflow may have outlived the stream: a new one with the same window ids must not take the old one's decisions.

    Args: snapshots: window id -> SHA-256 of its snapshot, by the manifests of this stream.
    """
    decisions = _tagged(tags)
    if not decisions:
        return ()
    about = any(_is_about(decision, candidate) for decision in decisions)
    if about and _continue(decisions, ledger) and _learned_from(tags, candidate, snapshots):
        return decisions
    log.warning("sitting_tag_ignored", version=candidate.version, number=decisions[0].number)
    return ()


def _json(decision: Decision | BaseDecision) -> str:
    return decision.model_dump_json(exclude_defaults=True)


def _tagged(tags: Mapping[str, str]) -> tuple[Decision, ...]:
    text = tags.get(SITTING_TAG)
    if text is None:
        return ()
    try:
        return _SITTING.validate_json(text)
    except ValidationError as error:
        log.error("unreadable_sitting_tag", error=str(error))
        return ()


def _continue(decisions: Sequence[Decision], ledger: Ledger) -> bool:
    try:
        ledger.after_all(decisions)
    except LedgerCorruptError:
        return False
    return True


def _is_about(decision: Decision, candidate: Candidate) -> bool:
    decided = (decision.version, decision.window_id, decision.model_digest)
    return decided == (candidate.version, candidate.window_id, candidate.model_digest)


def _learned_from(tags: Mapping[str, str], candidate: Candidate, snapshots: Mapping[str, str]) -> bool:
    """Whether the version was made of the very rows that this stream has under the candidate's window ids."""
    try:
        lineage = Lineage.from_tags(tags)
    except ModelError as error:
        log.warning("no_lineage", version=candidate.version, error=str(error))
        return False
    expected = tuple(snapshots.get(window_id) for window_id in candidate.window_ids)
    return (lineage.window_ids, lineage.snapshot_sha256s) == (candidate.window_ids, expected)
