"""What follows from a decision, and what may be done about it: for whoever has to do it."""

from services.evaluator.page.markup import NOTHING, Content, Markup, bullets, element, joined
from services.evaluator.page.words import is_window, named
from shared.events import Decision
from shared.label_quality import NO_SOURCE, LabelQuality, QualityReport, report_of


def after_no_model(decision: Decision, quality: LabelQuality | None) -> Markup:
    """Of a window that gave none; nothing for other decisions."""
    if decision.version is not None or decision.window_id is None:
        return NOTHING
    if decision.quarantined:
        return _steps(_after_distrust(decision, quality.report if quality else report_of(decision.numbers)))
    return _steps(_after_failure(decision.window_id))


def _after_distrust(decision: Decision, report: QualityReport | None) -> list[Content]:
    window = str(decision.window_id)
    return [
        f"No version comes of it; the next window is learned as ever. {_in_service(decision)}",
        "It is quarantined: no later training replays its reviews, and its held-out reviews leave the pool that "
        "decides about candidates. Nothing is deleted: its snapshot and its offsets stay.",
        joined(
            "If its labels are right after all (a new domain on which the model is simply wrong), vouch for it: ",
            element("code", f'tidemill window release {window} --why "…"'),
            ". From then on its reviews may be replayed, and its held-out ones count again.",
        ),
        joined(
            "If they are wrong, mend or stop the source where it publishes. Was it learned from in earlier windows? ",
            element("code", f'tidemill rebuild --without source={_worst_source(report)} --why "…"'),
            " trains the champion's history again without it.",
        ),
    ]


def _worst_source(report: QualityReport | None) -> str:
    named_ones = {name: found for name, found in report.sources.items() if name != NO_SOURCE} if report else {}
    worst = max(named_ones, key=lambda name: named_ones[name].interval[0], default="NAME")
    return worst if worst.isalnum() else "NAME"


def _after_failure(name: str) -> list[Content]:
    reviews = "Nothing speaks against its reviews: later trainings may replay them, and its held-out ones count."
    return [
        "No version comes of it; the next window is learned as ever.",
        *([reviews] if is_window(name) else []),
        joined(
            "What the last attempt wrote: ",
            element("code", f"HOME/runs/STREAM/{name}/job.log"),
            "; the service's own log: ",
            element("code", "tidemill logs retrainer"),
            ".",
        ),
    ]


def after_skip() -> Markup:
    """Of a window that was passed over."""
    return _steps(
        [
            "No model was trained, so that there was nothing to decide.",
            "Its held-out reviews count in the pool like any others; its training reviews are not replayed.",
        ]
    )


def after_rollback(decision: Decision) -> Markup:
    """Of a champion that was put back."""
    deposed = named(decision.champion_before)
    return _steps(
        [
            f"{deposed} is never promoted again by the gate. Challengers that waited had been compared with it, and "
            "were rejected.",
            f"Trainings that start from the champion start from {named(decision.version).lower()} from now on.",
            joined(
                "Look at what it learned last: ",
                element("code", f"tidemill explain {decision.champion_before}"),
                ". Was a source poisoned? ",
                element("code", 'tidemill rebuild --without source=NAME --why "…"'),
                " trains the history again without it.",
            ),
            joined(
                "If it was wrong to roll back: ",
                element("code", f'tidemill rollback --to {decision.champion_before} --why "…"'),
                ".",
            ),
        ]
    )


def _in_service(decision: Decision) -> str:
    before = decision.champion_before
    return "" if before is None else f"{named(before)} stays in service."


def _steps(items: list[Content]) -> Markup:
    return joined(element("h2", "What happens next"), bullets(items))
