"""What MLflow holds of a decision: the run's artifacts and metrics, and the version's tags that a restart reads."""

from collections.abc import Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from services.evaluator.ledger import Ledger
from shared.errors import ModelError
from shared.events import Candidate, Decision
from shared.lineage import Lineage
from shared.registry import Registry

log = structlog.get_logger("record")

DECISION_TAG, VERDICT_TAG = "tidemill.decision", "tidemill.verdict"
DECISION_FILE, PICTURES_FOLDER = "decision.json", "decision"


def log_picture(registry: Registry, run_id: str, picture: Path) -> None:
    """Keeps one picture with the run; repeating overwrites.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    registry.log_file(run_id, picture, PICTURES_FOLDER)


def log_decision(registry: Registry, run_id: str, decision: Decision) -> None:
    """Keeps the decision and its metrics with the run; repeating overwrites.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    registry.log_metrics(run_id, run_metrics(decision))
    registry.log_text(run_id, decision.model_dump_json(indent=2), DECISION_FILE)


def run_metrics(decision: Decision) -> dict[str, float]:
    """Metrics by `ROWS/MODEL/METRIC`, and the gate's numbers by `gate/NUMBER`."""
    scores = {
        f"{score.rows_name}/{score.model}/{metric}": value
        for score in decision.scores
        for metric, value in score.metrics.items()
    }
    return scores | {f"gate/{name}": value for name, value in decision.numbers.items()}


def decision_tags(decision: Decision) -> dict[str, str]:
    """One tag with the whole decision, written at once, and one for people."""
    whole = decision.model_dump_json(exclude_defaults=True)
    return {DECISION_TAG: whole, VERDICT_TAG: decision.verdict.value}


def tagged_decision(
    tags: Mapping[str, str], ledger: Ledger, candidate: Candidate, snapshots: Mapping[str, str]
) -> Decision | None:
    """The decision that was reached before a crash, if it still continues the ledger and is about this candidate.

    An operator's rollback may have come in between; then the version is judged again, against the champion of now. And
    MLflow may have outlived the stream: a new one with the same window ids must not take the old one's decisions.

    Args: snapshots: window id -> SHA-256 of its snapshot, by the manifests of this stream.
    """
    decision = _tagged(tags)
    if decision is None:
        return None
    if _continues(decision, ledger) and _is_about(decision, candidate) and _learned_from(tags, candidate, snapshots):
        return decision
    log.warning("decision_tag_ignored", version=candidate.version, number=decision.number)
    return None


def _tagged(tags: Mapping[str, str]) -> Decision | None:
    text = tags.get(DECISION_TAG)
    if text is None:
        return None
    try:
        return Decision.model_validate_json(text)
    except ValidationError as error:
        log.error("unreadable_decision_tag", error=str(error))
        return None


def _continues(decision: Decision, ledger: Ledger) -> bool:
    return (decision.number, decision.champion_before) == (ledger.number + 1, ledger.champion)


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
