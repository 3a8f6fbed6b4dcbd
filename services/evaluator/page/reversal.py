"""A rollback as people see it: what the watch saw, the two models, and who was in service when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.evaluator.bets import ALARM, Bet, bet_of
from services.evaluator.page import words
from services.evaluator.page.curves import Level, Line, Moment, curves, log_scale, share_scale
from services.evaluator.page.markup import Content, Markup, element, joined, paragraph, table
from shared.events import Decision, Verdict

MOST_REIGNS = 12
# Evidence beyond which its size means nothing any more, and below which nothing is to be seen.
_MOST, _LEAST = 1e6, 0.1
_REVIEWS = "fresh labelled reviews since it came into service"


@dataclass(frozen=True, slots=True)
class Reversal:
    """All that the page of a rollback tells.

    Attributes:
        entry: The rollback.
        moves: Every entry that moved the champion, in order, this one last.
        bets: What the watch had seen of the two, as far as that is known; a few more than at the rollback, perhaps.
        links: What it leads to -> address.
    """

    entry: Decision
    moves: tuple[Decision, ...]
    bets: tuple[Bet, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def deciding(self) -> Bet | None:
        """The counts that the rollback rests on; if somebody ordered it without any, the last that are known."""
        return bet_of(self.entry.numbers) or (self.bets[-1] if self.bets else None)


@dataclass(frozen=True, slots=True)
class Reign:
    """One version's time in service, which may come again."""

    version: str
    began: Decision
    ended: Decision | None

    def seconds(self, now: datetime) -> float:
        """How long it lasted so far."""
        return ((self.ended.decided_at if self.ended else now) - self.began.decided_at).total_seconds()


def reigns(moves: Sequence[Decision]) -> list[Reign]:
    """Who was in service, in order; the last one is."""
    following: list[Decision | None] = [*moves[1:], None]
    return [Reign(str(move.champion_after), move, after) for move, after in zip(moves, following, strict=True)]


# What the watch saw


def watched(found: Reversal) -> Markup:
    """The evidence and both accuracies over the same rows, with a picture where the bets are at hand."""
    entry, deciding = found.entry, found.deciding
    heading = element("h2", "What the watch had seen")
    if deciding is None:
        return joined(
            heading,
            paragraph(
                "Nothing is known here that both versions answered: too few labelled reviews had arrived since, or "
                f"version {entry.version} was not watched beside version {entry.champion_before}. The rollback rests "
                "on the reason above."
            ),
        )
    return joined(
        heading,
        paragraph(
            "Both versions answered the same labelled reviews, which neither had learned, and which arrived after "
            f"version {entry.champion_before} had come into service. On {words.whole(deciding.flips.rows)} of them, up "
            f"to offset {deciding.offset}:"
        ),
        _accuracies(entry, deciding),
        _apart(entry, deciding),
        _pot_curve(found) if found.bets else None,
        _accuracy_curve(found) if found.bets else None,
    )


def _accuracies(entry: Decision, bet: Bet) -> Markup:
    rows = bet.flips.rows
    told = [
        _accuracy(f"version {entry.champion_before}, in service then", bet.champion_accuracy, rows, "worse"),
        _accuracy(f"version {entry.version}, put back", bet.earlier_accuracy, rows, "better"),
    ]
    return table(("model", "right", "accuracy", ""), told, class_="bars")


def _accuracy(name: str, share: float, rows: int, kind: str) -> tuple[Content, ...]:
    bar = element("div", element("span", class_=kind, style=f"width: {share:.1%}"), class_="bar", aria_hidden="true")
    right = element("td", f"{words.whole(round(share * rows))} of {words.whole(rows)}", class_="number")
    return name, right, element("td", element("strong", f"{share:.1%}"), class_="number"), bar


def _apart(entry: Decision, bet: Bet) -> Markup:
    flips, alarm = bet.flips, entry.numbers.get(ALARM)
    needed = f" of the {alarm:g} that make the watch ask for a rollback" if alarm is not None else ""
    return paragraph(
        element("strong", f"Only version {entry.version} was right on {words.whole(flips.losses)}", class_="better"),
        f", only version {entry.champion_before} on {words.whole(flips.wins)}; on the other "
        f"{words.whole(flips.ties)} they were right or wrong together, which says nothing about who is better. "
        f"Evidence that version {entry.champion_before} is worse: ",
        element("strong", words.coins(bet.pot)),
        f"{needed}.",
    )


def _pot_curve(found: Reversal) -> Markup:
    alarm, before = found.entry.numbers.get(ALARM), found.entry.champion_before
    points = [(float(bet.flips.rows), min(bet.pot, _MOST)) for bet in found.bets]
    values = [y for _, y in points] + ([2.0 * alarm] if alarm else [])
    level = Level(f"alarm: {alarm:g}", alarm) if alarm else None
    line = Line("evidence", points, "worse")
    label = f"Evidence that version {before} is worse, over the reviews"
    return joined(
        element("h3", label),
        curves([line], log_scale(max(_LEAST, min(values)), max(10.0, *values)), label, _REVIEWS, level, _moment(found)),
        paragraph(
            "Evidence is money won by betting, review after review, that the model in service is worse by more than "
            "the watch allows. Before each batch the gambler gets one more coin, so that harm which begins late is "
            "found as fast. While the model is not worse, the pot grows by at most one coin a batch on average, so "
            "that a pot of hundreds is no luck. The axis goes in powers of ten.",
            class_="soft small",
        ),
    )


def _moment(found: Reversal) -> Moment | None:
    """Where the rollback was asked for, if the watch did; what was seen until it came is shown, too."""
    asked = bet_of(found.entry.numbers)
    return None if asked is None else Moment("asked for", asked.flips.rows)


def _accuracy_curve(found: Reversal) -> Markup:
    entry = found.entry
    lines = [
        Line(f"version {entry.version}", [(bet.flips.rows, bet.earlier_accuracy) for bet in found.bets], "better"),
        Line(
            f"version {entry.champion_before}", [(bet.flips.rows, bet.champion_accuracy) for bet in found.bets], "worse"
        ),
    ]
    label = "Accuracy of both on the same reviews so far"
    scale = share_scale([share for line in lines for _, share in line.points])
    return joined(
        element("h3", label),
        curves(lines, scale, label, _REVIEWS, moment=_moment(found)),
        paragraph(
            "All reviews from the first to that place. Batches that neither model gets mostly right tell of their "
            "labels, not of the models, and are left out.",
            class_="soft small",
        ),
    )


# The two models


def models(found: Reversal) -> Markup:
    """What the ledger knows of both, side by side."""
    entry = found.entry
    deposed, restored = _promotion(found, entry.champion_before), _promotion(found, entry.version)
    facts: list[tuple[str, Content, Content]] = [
        ("promoted", _promoted(deposed), _promoted(restored)),
        ("with window", _window(deposed), _window(restored)),
        ("then compared with", _opponent(deposed), _opponent(restored)),
        ("evidence then that it was safe", _evidence(deposed), _evidence(restored)),
        ("in service, all in all", _served(found, entry.champion_before), _served(found, entry.version)),
        ("files' digest", _digest(deposed), _digest(restored)),
    ]
    heads = ("", f"version {entry.champion_before}: rolled back", f"version {entry.version}: put back in service")
    return joined(element("h2", "The two models"), table(heads, [(element("strong", n), a, b) for n, a, b in facts]))


def _promotion(found: Reversal, version: str | None) -> Decision | None:
    promotions = (move for move in found.moves if move.verdict is Verdict.PROMOTE and move.version == version)
    return next(promotions, None)


def _promoted(promotion: Decision | None) -> str | None:
    return None if promotion is None else f"{words.moment(promotion.decided_at)} (decision {promotion.number})"


def _window(promotion: Decision | None) -> str | None:
    return None if promotion is None else promotion.window_id


def _opponent(promotion: Decision | None) -> str | None:
    if promotion is None:
        return None
    numbers = promotion.numbers
    counts = (numbers.get(name) for name in ("wins", "losses", "rows"))
    told = [words.whole(count) for count in counts if count is not None]
    flips = f": {told[0]} wins, {told[1]} losses on {told[2]} reviews" if len(told) == 3 else ""
    return f"{words.opponent(promotion)}{flips}"


def _evidence(promotion: Decision | None) -> str | None:
    found = promotion.numbers.get("evidence_safe") if promotion else None
    return None if found is None else words.coins(found)


def _served(found: Reversal, version: str | None) -> str:
    times = [reign.seconds(found.entry.decided_at) for reign in reigns(found.moves) if reign.version == version]
    return words.duration(sum(times))


def _digest(promotion: Decision | None) -> Markup | None:
    digest = promotion.model_digest if promotion else None
    return element("code", f"{digest[:16]}…") if digest else None


# Who served when


def served(found: Reversal) -> Markup:
    """The line of champions up to now."""
    shown = reigns(found.moves)[-MOST_REIGNS:]
    heads = ("version", "in service from", "until", "for", "came by")
    rows = [_reign(reign, found) for reign in shown]
    left_out = len(found.moves) - len(shown)
    return joined(
        element("h2", "Who was in service when"),
        paragraph(f"The {left_out} champions before are left out.", class_="soft small") if left_out else None,
        table(heads, rows, class_="reigns"),
    )


def _reign(reign: Reign, found: Reversal) -> list[Content]:
    entry = found.entry
    kind = {entry.champion_before: "worse", entry.version: "better"}.get(reign.version, "")
    until = words.moment(reign.ended.decided_at) if reign.ended else "in service when this was written"
    lasted = words.duration(reign.seconds(entry.decided_at)) if reign.ended else None
    began = reign.began
    by = "a promotion" if began.verdict is Verdict.PROMOTE else f"a rollback by {words.who(began)}"
    name = element("td", element("strong", f"version {reign.version}", class_=kind))
    return [name, words.moment(began.decided_at), until, lasted, f"{by} (decision {began.number})"]
