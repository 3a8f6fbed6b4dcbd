"""`tidemill explain NAME --open`: the page of a decision, from MLflow to the reader's browser.

What has no page in MLflow (a window that failed or was skipped, a run that was deleted) gets one from the topics.
"""

import webbrowser
from pathlib import Path

from services.control import history
from services.control.explain import candidate_of, decisions_on, find_version, is_version, rollbacks_of
from services.control.session import RefusedError, Session
from shared.events import CandidateStatus, Decision

FOLDER = "pages"


def keep_page(session: Session, name: str, file: Path | None = None) -> Path:
    """Writes the page of the latest decision about a version, or about a window; by default to HOME/pages/NAME.html.

    Raises:
        RefusedError: There is no such version or window, no page of it, or no such folder.
    """
    page = _version_page(session, name) if is_version(name) else _window_page(session, name)
    return _written(session, f"{name}.html", page, file)


def keep_rollback_pages(session: Session, version: str) -> list[Path]:
    """Writes the pages of the rollbacks that concern a version to HOME/pages/rollback-NUMBER.html, oldest first.

    Raises:
        RefusedError: They cannot be written there.
    """
    if not is_version(version):
        return []
    ledger = history.decisions(session.settings)
    return [
        _written(session, f"rollback-{entry.number}.html", _rollback_page(session, version, entry, ledger))
        for entry in rollbacks_of(ledger, version)
    ]


def show_page(file: Path) -> bool:
    """Opens a page in the reader's browser; False if there is none."""
    return webbrowser.open(file.as_uri())


def _written(session: Session, name: str, page: bytes, file: Path | None = None) -> Path:
    target = (file or session.settings.home / FOLDER / name).absolute()
    if file is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.write_bytes(page)
    except OSError as error:
        raise RefusedError(f"the page cannot be written to {target}: {error.strerror}") from error
    return target


def _version_page(session: Session, version: str) -> bytes:
    from shared.registry import DECISION_PAGE  # loads MLflow, as the session's registry does

    registry = session.registry()
    found = find_version(registry, version)
    page = registry.run_file(found.run_id, DECISION_PAGE) if found.run_id else None
    if page is None:
        raise RefusedError(
            f"there is no page of version {version}: it is not decided yet, or its run was deleted; "
            f"'tidemill explain {version}' shows what the ledger holds"
        )
    return page


def _window_page(session: Session, name: str) -> bytes:
    candidate = candidate_of(history.candidates(session.settings), name)
    if candidate is None:
        raise RefusedError(f"there is no page of {name}: nothing came of it yet; see 'tidemill explain {name}'")
    if candidate.version is not None:
        return _version_page(session, candidate.version)
    from services.evaluator.page.document import Dossier, decision_page, skipped_page

    window = next((window for window in history.windows(session.settings) if window.window_id == name), None)
    if candidate.status is CandidateStatus.SKIPPED:
        return skipped_page(candidate, window).encode()
    entries = decisions_on(history.decisions(session.settings), candidate.window_id, candidate)
    if not entries:
        raise RefusedError(f"there is no page of {name}: it is not decided yet; see 'tidemill explain {name}'")
    kept = _kept(session, entries[-1])
    return kept or decision_page(Dossier(entries[-1], candidate, window=window)).encode()


def _kept(session: Session, entry: Decision) -> bytes | None:
    from shared.registry import DECISION_PAGE

    return session.registry().run_file(entry.run_id, DECISION_PAGE) if entry.run_id else None


def _rollback_page(session: Session, version: str, entry: Decision, ledger: list[Decision]) -> bytes:
    from services.evaluator.page.document import rollback_page as written
    from services.evaluator.page.reversal import Reversal
    from shared.registry import rollback_page

    registry = session.registry()
    run_id = find_version(registry, version).run_id
    kept = registry.run_file(run_id, rollback_page(entry.number)) if run_id else None
    moves = (move for move in ledger if move.champion_after != move.champion_before and move.number <= entry.number)
    return kept or written(Reversal(entry, tuple(moves))).encode()
