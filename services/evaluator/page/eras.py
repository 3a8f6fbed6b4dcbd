"""What every model of the line knows of every era, so that forgetting is seen: one row a version, one column an era."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.evaluator.exam import BASELINE, CHALLENGER, CHAMPION
from services.evaluator.page.markup import NOTHING, Markup, element, paragraph, table
from services.evaluator.suites import ERA
from shared.events import Decision

ERA_PREFIX = f"{ERA} "
# Older ones leave the picture: a page is read on a screen.
MOST_VERSIONS = 15
# Ends of the colour scale, weak and strong, as red, green, blue.
_PALE, _DEEP = (247, 251, 255), (8, 64, 129)
_DARK_ENOUGH_FOR_WHITE = 0.5


@dataclass(frozen=True, slots=True)
class EraTable:
    """Accuracy by model and era.

    Attributes:
        models: `baseline`, then versions in the order of their decisions.
        eras: The oldest first.
        accuracy: (model, era) -> share of right answers, for those that were measured.
        rows: Era -> its held-out rows.
    """

    models: tuple[str, ...]
    eras: tuple[str, ...]
    accuracy: dict[tuple[str, str], float]
    rows: dict[str, int]


def era_table(decisions: Iterable[Decision]) -> EraTable:
    """Folds the eras' scores of several decisions; of the same model and era, the latest decision's counts.

    Args: decisions: of the ledger, in any order. Scores of eras are those whose `rows_name` starts with `era `.
    """
    accuracy: dict[tuple[str, str], float] = {}
    rows: dict[str, int] = {}
    for decision in sorted(decisions, key=lambda decision: decision.number):
        for model, era, value, held in _measured(decision):
            accuracy[model, era], rows[era] = value, held
    models = tuple(dict.fromkeys(model for model, _ in accuracy))
    versions = tuple(model for model in models if model != BASELINE)[-MOST_VERSIONS:]
    return EraTable(tuple(m for m in models if m == BASELINE) + versions, tuple(rows), accuracy, rows)


def _measured(decision: Decision) -> Iterator[tuple[str, str, float, int]]:
    """The champion of then before the version decided on, so that versions stand in the order of the line."""
    names = {BASELINE: BASELINE, CHAMPION: decision.champion_before, CHALLENGER: decision.version}
    for score in sorted(decision.scores, key=lambda score: [*names, score.model].index(score.model)):
        model, value = names.get(score.model), score.metrics.get("accuracy")
        if score.rows_name.startswith(ERA_PREFIX) and model is not None and value is not None:
            yield model, score.rows_name.removeprefix(ERA_PREFIX), value, score.rows


def era_heat_map(found: EraTable) -> Markup:
    """The table with coloured cells; nothing where no era was measured."""
    if not found.eras:
        return NOTHING
    heads = ["model", *(f"era {era} ({found.rows[era]} rows)" for era in found.eras)]
    low, high = min(found.accuracy.values()), max(found.accuracy.values())
    rows = [[_named(model), *(_cell(found, model, era, low, high) for era in found.eras)] for model in found.models]
    return element(
        "section",
        element("h2", "What each version knows of each era"),
        paragraph(
            "Accuracy on held-out reviews of past windows, on which no model was ever trained. Read down a column: a "
            "cell paler than those above it is an era that the newer model forgot. An era may veto a promotion, never "
            "earn one; its accuracy is for comparing versions, not for quoting."
        ),
        table(heads, rows, class_="heat"),
    )


def _named(model: str) -> str:
    return model if model == BASELINE else f"version {model}"


def _cell(found: EraTable, model: str, era: str, low: float, high: float) -> Markup:
    value = found.accuracy.get((model, era))
    if value is None:
        return element("td", "not measured", class_="number mute")
    share = (value - low) / (high - low) if high > low else 1.0
    colour = ", ".join(str(round(pale + share * (deep - pale))) for pale, deep in zip(_PALE, _DEEP, strict=True))
    ink = "#ffffff" if share > _DARK_ENOUGH_FOR_WHITE else "#101418"
    return element("td", f"{value:.1%}", class_="number", style=f"background: rgb({colour}); color: {ink}")
