"""What MLflow keeps of a decision, one upload at a time: pictures, the decision itself, and the page for people."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from pydantic import ValidationError

from services.evaluator.exam import Exhibit
from services.evaluator.page.document import Dossier, decision_page
from services.evaluator.page.eras import era_table
from services.evaluator.record import log_decision, log_page, log_picture
from shared.errors import RegistryRefusedError, TidemillError
from shared.events import Candidate, ClosedWindow, Decision
from shared.label_quality import QUALITY_FILE, LabelQuality
from shared.registry import Registry

log = structlog.get_logger("papers")

Paper = Callable[[], None]


def papers(
    registry: Registry,
    decision: Decision,
    exhibit: Exhibit,
    candidate: Candidate | None,
    line: Sequence[Decision],
    window: ClosedWindow | None = None,
) -> list[Paper]:
    """Uploads, each made by one call that may be repeated; none for a decision without a run.

    Args: candidate: what the decision is about, where it is at hand; line: other decisions of the ledger, whose
    scores show what earlier versions knew; window: what gave no version, where it is at hand.
    """
    if decision.run_id is None:
        return []
    return [
        *(partial(log_picture, registry, decision.run_id, picture) for picture in exhibit.pictures),
        partial(log_decision, registry, decision.run_id, decision),
        partial(_log_page, registry, decision.run_id, decision, exhibit, candidate, line, window),
    ]


def keep_next(left: deque[Paper]) -> None:
    """Makes the first of the uploads and takes it off; one that MLflow refuses is passed over.

    Raises: RegistryUnavailableError; the upload is still the first then.
    """
    try:
        left[0]()
    except RegistryRefusedError as error:
        # A run that somebody deleted must not stop the ledger.
        log.error("not_recorded", error=str(error))
    left.popleft()


def _log_page(
    registry: Registry,
    run_id: str,
    decision: Decision,
    exhibit: Exhibit,
    candidate: Candidate | None,
    line: Sequence[Decision],
    window: ClosedWindow | None,
) -> None:
    quality = _quality(registry, run_id) if decision.version is None else None
    try:
        page = decision_page(_dossier(registry, run_id, decision, exhibit, candidate, line, window, quality))
    except Exception:
        # Pages are for people: one that cannot be written must not stop the ledger.
        log.exception("no_page", version=decision.version, number=decision.number)
        return
    log_page(registry, run_id, page)


def _dossier(
    registry: Registry,
    run_id: str,
    decision: Decision,
    exhibit: Exhibit,
    candidate: Candidate | None,
    line: Sequence[Decision],
    window: ClosedWindow | None,
    quality: LabelQuality | None,
) -> Dossier:
    links = {"run in MLflow": registry.run_url(run_id)}
    if decision.version is not None:
        links["version in MLflow"] = registry.version_url(decision.version)
    return Dossier(
        decision=decision,
        candidate=candidate,
        pictures={picture.stem: picture.read_bytes() for picture in exhibit.pictures},
        flipped=exhibit.flipped,
        eras=era_table([*line, decision]),
        links=links,
        quality=quality,
        window=window,
    )


def _quality(registry: Registry, run_id: str) -> LabelQuality | None:
    """What was found wrong with the window's labels; without it the page shows what the decision says of it.

    A registry that is away is no reason to wait here: the upload that follows waits, and then this is read again.
    """
    try:
        found = registry.run_file(run_id, QUALITY_FILE)
        return None if found is None else LabelQuality.model_validate_json(found)
    except (TidemillError, ValidationError) as error:
        log.warning("page_without_labels", run_id=run_id, error=str(error))
        return None
