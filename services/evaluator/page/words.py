"""What a decision says in plain sentences, for people who were not there."""

from datetime import UTC, datetime

from services.evaluator.bets import bet_of
from services.evaluator.ledger import WATCH
from services.evaluator.page.markup import Markup, element, joined
from shared.events import Decision, Outcome, TermResult, Verdict
from shared.label_quality import LIMIT, Suspects, report_of
from shared.rebuilds import REBUILD_PREFIX

MEANINGS = {
    "answers": "It loads, and answers a few known questions.",
    "metrics_complete": "Every measure of its quality could be computed.",
    "proven_worse": "Is it proven to be worse than what it would replace? Then it is rejected.",
    "safe": "Is it proven to lose no more accuracy than the margin allows?",
    "ahead": "Is it right where the other is wrong more often than the other way round?",
    "anchor": "The same proof against an older version, so that many small losses never add up to a large one.",
    "slices": "Is any part of the reviews (a source, a length, a label, a language) proven worse?",
    "eras": "Is any period of the past proven worse? That would be forgetting.",
    "negative_flips": "How many reviews that users get right answers on today would turn wrong?",
    "brier": "Are its probabilities, taken as probabilities, proven worse?",
    "baseline": "Is it proven worse than a generic model that was never trained on these reviews?",
    "size": "Are its files about as large as the champion's?",
    "latency": "Does it answer about as fast as the champion?",
    "serving": "Beside the champion, on what users asked: did it fail rarely, answer about the same, about as fast?",
    "perplexity": "Does it guess words that were taken out of held-out reviews better than its parent?",
    "accuracy_after_fine_tuning": "Does a classifier made of it lose no more accuracy than the margin allows, against "
    "one made of its parent by the same training on the same reviews?",
}

GATE = "gate"

# Evidence below which its digits matter, and above which they do not.
_FEW, _MANY = 100.0, 1e6
# Half a tenth of a point.
_SMALLEST_SHOWN = 0.0005

_TONES = {
    Verdict.PROMOTE: "good",
    Verdict.REJECT: "bad",
    Verdict.UNDECIDED: "open",
    Verdict.ROLLBACK: "open",
    Outcome.PASS: "good",
    Outcome.FAIL: "bad",
    Outcome.UNDECIDED: "open",
    Outcome.NOT_APPLICABLE: "mute",
}


def badge(of: Verdict | Outcome) -> Markup:
    """Verdict or outcome in its colour; the word is there too, for those who see no colours."""
    return element("span", of.value.replace("_", " "), class_=f"badge {tone(of)}")


def tone(of: Verdict | Outcome) -> str:
    """The class of its colour."""
    return _TONES[of]


def headline(decision: Decision) -> str:
    """The verdict in one sentence."""
    this, before = named(decision.version), decision.champion_before
    match decision.verdict:
        case Verdict.REJECT if decision.version is None:
            return _without_version(decision)
        case Verdict.PROMOTE if before is None:
            return f"{this} was promoted: it is the first model in service."
        case Verdict.PROMOTE:
            return f"{this} was promoted: it replaces {named(before).lower()}."
        case Verdict.REJECT:
            return f"{this} was rejected: {_stays(before)}."
        case Verdict.UNDECIDED:
            return f"{this} waits: the held-out reviews cannot tell yet whether it is better; {_stays(before)}."
        case Verdict.ROLLBACK:
            return f"{this} was put back in service by {who(decision)}, in place of {named(before).lower()}."


def _without_version(decision: Decision) -> str:
    stays = _stays(decision.champion_before)
    if decision.window_id is None:
        return f"What {who(decision)} ordered was refused: {stays}."
    if decision.quarantined:
        return f"Window {decision.window_id} was not learned: its labels look wrong; {stays}."
    learner = "Window" if is_window(decision.window_id) else "The order"
    return f"{learner} {decision.window_id} gave no model: its training failed; {stays}."


def is_window(name: str) -> bool:
    """Whether a candidate is named after a window; else it answers an order to rebuild."""
    return not name.startswith(REBUILD_PREFIX)


def _stays(champion: str | None) -> str:
    return "no model is in service yet" if champion is None else f"version {champion} stays in service"


def named(version: str | None) -> str:
    """A version as the start of a sentence."""
    return "The window's model" if version is None else f"Version {version}"


def who(decision: Decision) -> str:
    """Who ordered or decided it, as the end of a sentence."""
    return f"the {decision.decided_by}" if decision.decided_by in (GATE, WATCH) else decision.decided_by


def opponent(decision: Decision) -> str:
    """What the version was compared with."""
    if decision.champion_before is None:
        return "the generic baseline"
    return f"version {decision.champion_before} (the champion)"


def lead(decision: Decision) -> str | None:
    """What the verdict rests on, for those who read one sentence."""
    numbers = decision.numbers
    if (bet := bet_of(numbers)) is not None:
        return (
            f"On the {whole(bet.flips.rows)} fresh reviews that the watch had seen, {named(decision.version).lower()} "
            f"was right on {bet.earlier_accuracy:.1%}, {named(decision.champion_before).lower()} on "
            f"{bet.champion_accuracy:.1%}."
        )
    if (labels := report_of(numbers)) is not None:
        return _suspicion(labels.window, numbers.get(LIMIT))
    if not numbers.get("rows"):
        return None
    wins, losses, rows = (whole(numbers.get(name, 0.0)) for name in ("wins", "losses", "rows"))
    if wins == losses == "0":
        return f"On all {rows} reviews kept back for comparison, it is right and wrong where {opponent(decision)} is."
    return (
        f"Of {rows} reviews kept back for comparison, it is the only one right on {wins}; "
        f"{opponent(decision)} is the only one right on {losses}."
    )


def _suspicion(found: Suspects, limit: float | None) -> str:
    bound = f"; beyond {limit:.0%} nothing is learned from them" if limit is not None else ""
    return (
        f"{whole(found.suspicious)} of its {whole(found.rows)} training labels ({found.share:.0%}) contradict a model "
        f"that had never seen these reviews{bound}."
    )


def need(decision: Decision) -> str | None:
    """What an undecided challenger waits for."""
    if decision.verdict is not Verdict.UNDECIDED:
        return None
    if decision.need_rows is None:
        return "How many labels would settle it cannot be said: it is not ahead so far."
    labels = f"About {decision.need_rows:,} more labelled reviews in the hold-out would"
    if decision.numbers.get("wins", 0.0) <= decision.numbers.get("losses", 0.0):
        return f"{labels} show that it is safe, with about an even chance; but it is not ahead so far, and must be."
    return f"{labels} settle it, with about an even chance. It is looked at again with every window that closes."


def comparison(decision: Decision) -> str:
    """On what rows and how far apart the two are."""
    numbers = decision.numbers
    low, high = (points(numbers.get(name, 0.0)) for name in ("delta_low", "delta_high"))
    return (
        f"It was compared with {opponent(decision)}, review by review, on {whole(numbers.get('rows', 0.0))} held-out "
        f"reviews on which no model is ever trained. Its edge is {points(numbers.get('delta', 0.0))} points of "
        f"accuracy; between {low} and {high} points are plausible (95 % interval that holds at every look)."
    )


def evidence_explained(decision: Decision) -> Markup:
    """The one idea behind all evidence, for newcomers."""
    coins = f"{bar(decision):g}"
    return joined(
        element("strong", "Evidence is money won by betting. "),
        "Think of a gambler who starts with one coin, and before every review stakes part of what there is on a claim, "
        f"at odds that are fair if the claim is only just false. To own {coins} coins is then rare: while the claim is "
        f"false, at most one challenger in {coins} ever gets there, however often one looks. So {coins} coins are a "
        "reason to believe; about one coin, or less, says nothing for it.",
    )


def bar(decision: Decision) -> float:
    """The evidence that a safe challenger needs."""
    return next((term.threshold for term in decision.terms if term.name == "safe" and term.threshold), 20.0)


def evidence_rows(decision: Decision) -> list[tuple[str, float, float | None]]:
    """Claim, the evidence for it, and what it needs, if anything hangs on it."""
    numbers, margin = decision.numbers, decision.numbers.get("margin", 0.0)
    no_worse = f"it loses at most {100 * margin:g} point{'' if margin == 0.01 else 's'} of accuracy"
    claims = {
        "evidence_safe": (no_worse if margin else "it is better", bar(decision)),
        # Without a margin the two are one claim.
        **({"evidence_ahead": ("it is better at all", None)} if margin else {}),
        "harm": ("it is worse", _threshold(decision.terms, "proven_worse")),
    }
    return [(claim, numbers[name], needed) for name, (claim, needed) in claims.items() if name in numbers]


def coins(evidence: float) -> str:
    """Evidence as people read it; beyond a million its size means nothing any more."""
    return "more than a million" if evidence > _MANY else f"{evidence:,.3g}" if evidence < _FEW else whole(evidence)


def _threshold(terms: tuple[TermResult, ...], name: str) -> float | None:
    return next((term.threshold for term in terms if term.name == name), None)


def moment(at: datetime) -> str:
    """A time as tables show it."""
    return f"{at.astimezone(UTC):%d %b %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """A time span by its two largest units."""
    left, told = max(0, round(seconds)), list[str]()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not told):
            told.append(f"{count} {unit}")
    return " ".join(told[:2])


def short(name: str, chars: int) -> str:
    """A name cut to what there is room for."""
    return name if len(name) <= chars else f"{name[: chars - 1]}…"


def points(share: float) -> str:
    """A share as signed points of accuracy."""
    return f"{100 * share:+.1f}" if abs(share) >= _SMALLEST_SHOWN else "0.0"


def whole(number: float) -> str:
    """A count with its thousands apart."""
    return f"{number:,.0f}"


def figure(number: float | None) -> str | None:
    """A number as tables show it: no more digits than anybody reads."""
    if number is None:
        return None
    return f"{number:,.0f}" if float(number).is_integer() and abs(number) < 1e9 else f"{number:.4g}"
