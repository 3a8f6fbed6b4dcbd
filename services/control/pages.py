"""`tidemill explain VERSION --open`: the page of a decision, from MLflow to the reader's browser."""

import webbrowser
from pathlib import Path

from services.control.explain import find_version
from services.control.session import RefusedError, Session

FOLDER = "pages"


def keep_page(session: Session, version: str, file: Path | None = None) -> Path:
    """Writes the page of the version's latest decision; by default to HOME/pages/VERSION.html.

    Raises:
        RefusedError: There is no such version, no page of it, or no such folder.
    """
    page = _fetched(session, version)
    target = (file or session.settings.home / FOLDER / f"{version}.html").absolute()
    if file is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.write_bytes(page)
    except OSError as error:
        raise RefusedError(f"the page cannot be written to {target}: {error.strerror}") from error
    return target


def show_page(file: Path) -> bool:
    """Opens a page in the reader's browser; False if there is none."""
    return webbrowser.open(file.as_uri())


def _fetched(session: Session, version: str) -> bytes:
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
