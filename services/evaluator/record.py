"""What MLflow holds of a decision: the run's artifacts and metrics, and the version's tags that a restart reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from pydantic import ValidationError

from services.evaluator.ledger import Ledger
from shared.events import Decision
from shared.registry import Registry

log = structlog.get_logger("record")

DECISION_TAG, VERDICT_TAG = "tidemill.decision", "tidemill.verdict"
DECISION_FILE, PICTURES_FOLDER = "decision.json", "decision"


def log_decision(registry: Registry, run_id: str, decision: Decision, pictures: Sequence[Path]) -> None:
    """Keeps the decision, its metrics and pictures with the run; repeating overwrites.

    Raises: RegistryUnavailableError, RegistryRefusedError.
    """
    registry.log_metrics(run_id, run_metrics(decision))
    for picture in pictures:
        registry.log_file(run_id, picture, PICTURES_FOLDER)
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


def tagged_decision(tags: Mapping[str, str], ledger: Ledger) -> Decision | None:
    """The decision that was reached before a crash, if it still continues the ledger.

    An operator's rollback may have come in between; then the version is judged again, against the champion of now.
    """
    text = tags.get(DECISION_TAG)
    if text is None:
        return None
    try:
        decision = Decision.model_validate_json(text)
    except ValidationError as error:
        log.error("unreadable_decision_tag", error=str(error))
        return None
    fits = (decision.number, decision.champion_before) == (ledger.number + 1, ledger.champion)
    return decision if fits else None
