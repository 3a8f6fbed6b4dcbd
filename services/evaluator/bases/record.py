"""What MLflow holds of a decision about a base: its tag, by which a restart goes on, and the run's papers."""

from collections.abc import Mapping
from functools import partial

import structlog
from pydantic import ValidationError

from services.evaluator.bases.ledger import BaseLedger
from services.evaluator.page.base import base_page
from services.evaluator.papers import Paper
from services.evaluator.record import DECISION_TAG, log_decision, log_page
from shared.errors import LedgerCorruptError
from shared.events import BaseCandidate, BaseDecision, CandidateStatus
from shared.exam import EXAM_FOLDER
from shared.registry import Registry

log = structlog.get_logger("record")


def tagged_decision(tags: Mapping[str, str], ledger: BaseLedger, candidate: BaseCandidate) -> BaseDecision | None:
    """The decision that was reached before a crash; None unless it is about this very candidate and still comes next.

    MLflow may have outlived the stream: an older stream's base with the same name must not bring its decision.
    """
    text = tags.get(DECISION_TAG)
    if text is None:
        return None
    try:
        decision = BaseDecision.model_validate_json(text)
        ledger.after(decision)
    except (ValidationError, LedgerCorruptError) as error:
        log.warning("decision_tag_ignored", version=candidate.version, error=str(error))
        return None
    decided = (decision.version, decision.window_id, decision.run_id, decision.model_digest)
    if decided != (candidate.version, candidate.window_id, candidate.run_id, candidate.model_digest):
        log.warning("decision_tag_ignored", version=candidate.version, error="it is about another base")
        return None
    return decision


def base_papers(registry: Registry, decision: BaseDecision, candidate: BaseCandidate) -> list[Paper]:
    """Uploads to the candidate's run, each made by one call that may be repeated; none without a run."""
    run_id = decision.run_id
    if run_id is None:
        return []
    papers: list[Paper] = [
        partial(log_decision, registry, run_id, decision),
        partial(_log_page, registry, run_id, decision, candidate),
    ]
    if candidate.status is CandidateStatus.FAILED:
        # It has no version by which housekeeping would find it.
        papers.append(partial(registry.delete_folder, run_id, EXAM_FOLDER))
    return papers


def _log_page(registry: Registry, run_id: str, decision: BaseDecision, candidate: BaseCandidate) -> None:
    links = {"run in MLflow": registry.run_url(run_id)}
    if decision.version is not None:
        links["version in MLflow"] = registry.version_url(decision.version)
    try:
        page = base_page(decision, candidate, links)
    except Exception:
        # Pages are for people: one that cannot be written must not stop the ledger.
        log.exception("no_page", version=decision.version, number=decision.number)
        return
    log_page(registry, run_id, page)
