"""`tidemill explain NAME`: from a model or a window back to the reviews, and why it was promoted or not."""

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.tree import Tree

from services.control.history import candidates, commands, decisions, windows
from services.control.output import cell
from services.control.session import RefusedError, Session
from shared.events import Candidate, ClosedWindow, Command, CommandKind, Decision, Verdict
from shared.lineage import Lineage
from shared.rebuilds import REBUILD_PREFIX

if TYPE_CHECKING:
    from shared.registry import ModelVersion, Registry

WINDOW_PREFIX = "w-"


def is_version(name: str) -> bool:
    """Whether a name is that of a version, and of no window or order to rebuild."""
    return not name.startswith((WINDOW_PREFIX, REBUILD_PREFIX))


# A version


def explain(session: Session, version: str) -> dict[str, Any]:
    """Everything recorded about a version: lineage, the windows behind it, its decisions and rollbacks, its run.

    Raises:
        RefusedError: The registry has no such version.
    """
    registry = session.registry()
    found = find_version(registry, version)
    lineage = Lineage.from_tags(found.tags)
    learned = {*lineage.window_ids, *lineage.replay_window_ids}
    ledger = decisions(session.settings)
    return {
        "version": found.version,
        "created_at": found.created_at,
        "lineage": lineage,
        "windows": [window for window in windows(session.settings) if window.window_id in learned],
        "decisions": [entry for entry in ledger if entry.version == version and entry.verdict is not Verdict.ROLLBACK],
        "rollbacks": rollbacks_of(ledger, version),
        "run": registry.run_url(found.run_id) if found.run_id else None,
        "page": registry.version_url(found.version),
    }


def find_version(registry: "Registry", version: str) -> "ModelVersion":
    """A version of the registry.

    Raises:
        RefusedError: There is no such version; the text names those that there are.
    """
    found = registry.version(version)
    if found is None:
        known = ", ".join(known.version for known in registry.versions()) or "none"
        raise RefusedError(f"version {version} is not in the registry; there are: {known}")
    return found


def rollbacks_of(ledger: list[Decision], version: str) -> list[Decision]:
    """The entries that put a version back in service, or took it out of it."""
    rollbacks = (entry for entry in ledger if entry.verdict is Verdict.ROLLBACK)
    return [entry for entry in rollbacks if version in (entry.champion_before, entry.version)]


def picture(facts: dict[str, Any]) -> Group:
    """The same for people."""
    tables = [_decision_table(entry) for entry in facts["decisions"]]
    return Group(_lineage_tree(facts), *tables, *_rollback_tables(facts["rollbacks"], facts["version"]))


def _lineage_tree(facts: dict[str, Any]) -> Tree:
    lineage: Lineage = facts["lineage"]
    tree = Tree(f"[bold]Version {facts['version']}[/bold], {cell(facts['created_at'])}")
    tree.add(f"started from {f'version {lineage.parent_version}' if lineage.parent_version else lineage.base}")
    if lineage.rebuild_of:
        tree.add(f"the history of version {lineage.rebuild_of}, trained again")
    if lineage.without:
        tree.add(f"without {cell(' and '.join(lineage.without))}")
    tree.add(f"seed {lineage.seed}, code {lineage.code_version}, files sha256 {lineage.model_digest[:16]}…")
    for window in facts["windows"]:
        _add_window(tree, window, "learned" if window.window_id in lineage.window_ids else "replayed")
    tree.add(f"run {facts['run']}")
    return tree


def _add_window(tree: Tree, window: ClosedWindow, role: str) -> None:
    branch = tree.add(f"{role} [bold]{window.window_id}[/bold]: {window.kept} of {window.reviews} reviews kept")
    branch.add(
        f"reviews.curated offsets {window.first_offset}-{window.last_offset}, closed by {cell(window.trigger_detail)}"
    )
    origins = (f"[{partition}] {low}-{high}" for partition, (low, high) in sorted(window.origins.items()))
    branch.add(f"reviews.labeled offsets {cell(', '.join(origins))}")
    branch.add(f"snapshot {window.snapshot.path}")


def _decision_table(entry: Decision) -> Table:
    heading = f"Decision {entry.number}: {entry.verdict.value}, against {entry.champion_before or 'the baseline'}"
    table = Table(title=heading, caption=cell("; ".join(entry.reasons)), title_justify="left", caption_justify="left")
    for column in ("term", "outcome", "value", "low", "high", "threshold", "rows", "why"):
        table.add_column(column)
    for term in entry.terms:
        numbers = (term.value, term.low, term.high, term.threshold)
        table.add_row(term.name, term.outcome.value, *map(cell, numbers), cell(term.rows), cell(term.detail))
    return table


def _rollback_tables(rollbacks: list[Decision], version: str) -> list[RenderableType]:
    if not rollbacks:
        return []
    caption = f"'tidemill explain {version} --open' opens their pages, too"
    table = Table(title="Rollbacks", caption=caption, title_justify="left", caption_justify="left")
    for column in ("number", "decided", "champion", "by", "why"):
        table.add_column(column)
    for entry in rollbacks:
        champions = f"{entry.champion_before} -> {entry.champion_after}"
        facts = (entry.number, entry.decided_at, champions, entry.decided_by, entry.reasons)
        table.add_row(*map(cell, facts))
    return [table]


# A window


def explain_window(session: Session, name: str) -> dict[str, Any]:
    """Everything that the topics hold of a window, or of an order to rebuild: what came of it, and why.

    Raises:
        RefusedError: Nobody knows such a window.
    """
    window = next((window for window in windows(session.settings) if window.window_id == name), None)
    candidate = candidate_of(candidates(session.settings), name)
    if window is None and candidate is None:
        known = ", ".join(window.window_id for window in windows(session.settings)[-5:]) or "none yet"
        raise RefusedError(f"{name} is neither a closed window nor an order that was answered; latest: {known}")
    entries = decisions_on(decisions(session.settings), name, candidate)
    releases = [order for order in commands(session.settings) if _releases(order, name)]
    return {
        "window": window,
        "candidate": candidate,
        "version": candidate.version if candidate else None,
        "decisions": entries,
        "quarantined": any(entry.quarantined for entry in entries) and not releases,
        "released": releases,
    }


def candidate_of(made: list[Candidate], name: str) -> Candidate | None:
    """The candidate of a window, which may have been merged into a later one's, or of an order to rebuild."""
    own = (candidate for candidate in made if candidate.window_id == name)
    merged = (candidate for candidate in made if name in candidate.window_ids and not candidate.rebuild_of)
    return next(own, None) or next(merged, None)


def decisions_on(ledger: list[Decision], name: str, candidate: Candidate | None) -> list[Decision]:
    """The entries about a window or about the version that came of it."""
    version = candidate.version if candidate else None
    about = (entry for entry in ledger if entry.verdict is not Verdict.ROLLBACK)
    return [entry for entry in about if entry.window_id == name or (version and entry.version == version)]


def _releases(order: Command, window_id: str) -> bool:
    return order.kind is CommandKind.RELEASE_WINDOW and order.target == window_id


def window_picture(name: str, facts: dict[str, Any]) -> Group:
    """The same for people."""
    tree = Tree(f"[bold]{cell(name)}[/bold]")
    if facts["window"] is not None:
        _add_window(tree, facts["window"], "closed as")
    tree.add(_came_of(facts["candidate"]))
    if facts["quarantined"]:
        tree.add("quarantined: not replayed, and its held-out reviews decide about nobody")
    for order in facts["released"]:
        tree.add(f"released by {cell(order.who)}, {cell(order.issued_at)}: {cell(order.why)}")
    return Group(tree, *(_decision_table(entry) for entry in facts["decisions"]))


def _came_of(candidate: Candidate | None) -> str:
    if candidate is None:
        return "not learned yet"
    if candidate.version is not None:
        return f"gave version {candidate.version}; 'tidemill explain {candidate.version}' says what it learned"
    return f"gave no model, {candidate.status.value}: {cell(candidate.reason)}"
