"""The page of a decision about an adapted base: what it was compared with, on which reviews, and how sure that is."""

from collections.abc import Iterator, Mapping

from services.evaluator.page import words
from services.evaluator.page.document import document
from services.evaluator.page.intervals import Difference, intervals
from services.evaluator.page.markup import (
    NOTHING,
    Content,
    Markup,
    bullets,
    element,
    joined,
    link,
    paragraph,
    table,
)
from services.evaluator.page.sections import records, spaced, terms
from shared.events import BaseCandidate, BaseDecision, Verdict
from shared.gate_settings import BaseGateSettings
from shared.topics import BASES_DECISIONS

_TERMS = (
    "Both must pass before the base is accepted. The value is held against the threshold: nats saved a guess against "
    "none, evidence against what is needed. The interval is that of the picture."
)


def base_page(decision: BaseDecision, candidate: BaseCandidate, links: Mapping[str, str]) -> str:
    """A whole HTML document, self-contained. Args: links: what it leads to -> address."""
    return document(
        headline(decision),
        _verdict(decision, links),
        _comparison(decision),
        terms(decision.terms, _TERMS),
        _origin(decision, candidate),
        records(decision, BASES_DECISIONS.name),
    )


def headline(decision: BaseDecision) -> str:
    """The verdict in one sentence."""
    this, before = _named(decision.version), _in_use(decision.base_before)
    match decision.verdict:
        case Verdict.PROMOTE:
            return f"{this} was accepted: later trainings may start from it, in place of {before}."
        case Verdict.REJECT:
            return f"{this} was rejected: {before} stays in use."
        case Verdict.UNDECIDED:
            return (
                f"{this} is undecided: the held-out reviews cannot tell whether it is better. "
                f"{before.capitalize()} stays in use; the next adaptation learns these texts again."
            )


def _named(version: str | None) -> str:
    return "The adapted base" if version is None else f"Base {version}"


def _in_use(version: str | None) -> str:
    return "the configured base" if version is None else f"base {version}"


def _verdict(decision: BaseDecision, links: Mapping[str, str]) -> Markup:
    when = f"decision {decision.number} about bases, {decision.decided_at:%d %B %Y, %H:%M} UTC"
    heading = element(
        "header",
        joined(words.badge(decision.verdict), " ", element("span", when, class_="soft small")),
        element("h1", headline(decision)),
        paragraph("The gate's reasons:", class_="soft small"),
        bullets(decision.reasons),
        class_=f"verdict {words.tone(decision.verdict)}",
    )
    followed = [link(address, name) for name, address in links.items()]
    return joined(heading, paragraph(*spaced(followed), class_="small") if followed else None)


def _comparison(decision: BaseDecision) -> Markup:
    found = tuple(_differences(decision))
    if not found:
        return NOTHING
    return joined(
        element("h2", "What was compared, and how sure it is"),
        paragraph(
            "Both bases guessed the same words, taken out of the same held-out unlabelled reviews. Then two "
            "classifiers, made of either base by the same short training on the same labelled reviews, answered the "
            "same held-out labelled reviews. No model is ever trained on a held-out review."
        ),
        table(("", "parent", "adapted"), _figures(decision.numbers)),
        intervals(found, "Differences between the adapted base and its parent, with their intervals"),
        paragraph(
            f"To the right the adapted base is better. A line is what is plausible: a {_level(decision):.0%} interval "
            "for words, which lies on one side of zero where the difference is proven; a 95 % interval for answers, "
            "which need only be proven no worse than the margin.",
            class_="soft small",
        ),
    )


def _level(decision: BaseDecision) -> float:
    """Of the interval that goes with two one-sided tests."""
    return 1.0 - 2.0 * BaseGateSettings.model_validate(decision.policy).alpha


def _differences(decision: BaseDecision) -> Iterator[Difference]:
    numbers = decision.numbers
    if (saved := numbers.get("nats_saved")) is not None:
        said = f"{saved:+.4g} nats a guess saved"
        ends = (numbers.get("nats_saved_low"), numbers.get("nats_saved_high"))
        yield Difference("guessing words", saved, *ends, floor=0.0, said=said)
    if (delta := numbers.get("delta")) is not None:
        counts = (words.whole(numbers[name]) for name in ("wins", "losses", "rows"))
        said = "{} points ({} : {} of {})".format(words.points(delta), *counts)
        ends = (numbers.get("delta_low"), numbers.get("delta_high"))
        yield Difference("accuracy once fine-tuned", delta, *ends, floor=-numbers.get("margin", 0.0), said=said)


def _figures(numbers: Mapping[str, float]) -> Iterator[tuple[Content, ...]]:
    told = {"perplexity": "perplexity", "nats": "nats a guess", "accuracy": "accuracy once fine-tuned"}
    for name, label in told.items():
        before, after = (numbers.get(f"{name}_{when}") for when in ("before", "after"))
        if before is not None and after is not None:
            yield label, *(element("td", words.figure(value), class_="number") for value in (before, after))


def _origin(decision: BaseDecision, candidate: BaseCandidate) -> Markup:
    facts: dict[str, Content] = {
        "base": decision.version,
        "in use before, after": f"{_in_use(decision.base_before)}, {_in_use(decision.base_after)}",
        "grown from": _in_use(candidate.parent_version),
        "learned the text of": ", ".join(candidate.window_ids),
        "fine-tuned for the comparison on": ", ".join(candidate.probe_window_ids) or None,
        "adaptation ended": f"{candidate.status.value} {candidate.reason or ''}".strip(),
        "run": decision.run_id,
        "files' digest": decision.model_digest,
    }
    measured = candidate.metrics.model_dump() if candidate.metrics else {}
    facts |= {name.replace("_", " "): words.figure(value) for name, value in measured.items()}
    known = [(name, fact) for name, fact in facts.items() if fact is not None]
    return joined(element("h2", "Where it came from"), table(("fact", "value"), known))
