"""`tidemill explain VERSION`: from a model back to the reviews it learned from, and why it was promoted or not."""

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.tree import Tree

from services.control.history import decisions, windows
from services.control.output import cell
from services.control.session import RefusedError, Session
from shared.events import ClosedWindow, Decision
from shared.lineage import Lineage

if TYPE_CHECKING:
    from shared.registry import ModelVersion, Registry


def explain(session: Session, version: str) -> dict[str, Any]:
    """Everything recorded about a version: lineage, the windows behind it, its decisions, its run.

    Raises:
        RefusedError: The registry has no such version.
    """
    registry = session.registry()
    found = find_version(registry, version)
    lineage = Lineage.from_tags(found.tags)
    learned = {*lineage.window_ids, *lineage.replay_window_ids}
    return {
        "version": found.version,
        "created_at": found.created_at,
        "lineage": lineage,
        "windows": [window for window in windows(session.settings) if window.window_id in learned],
        "decisions": [entry for entry in decisions(session.settings) if entry.version == version],
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


def picture(facts: dict[str, Any]) -> Group:
    """The same for people."""
    return Group(_lineage_tree(facts), *(_decision_table(entry) for entry in facts["decisions"]))


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
        _add_window(tree, window, lineage)
    tree.add(f"run {facts['run']}")
    return tree


def _add_window(tree: Tree, window: ClosedWindow, lineage: Lineage) -> None:
    role = "learned" if window.window_id in lineage.window_ids else "replayed"
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
