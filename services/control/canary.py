"""`tidemill canary`: orders a challenger beside the champion, or ends it, and waits until the servers follow."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from services.control import history, orders
from services.control.options import Who, Why
from services.control.output import console
from services.control.servers import Replica, replicas
from services.control.session import RefusedError, Session
from shared.canary import CanaryFold, CanaryRole, objection_to_tags
from shared.canary_settings import CanarySettings
from shared.events import CanaryTerms, Command, CommandKind, Decision, ServerPhase, ServingRole, utc_now
from shared.settings import Settings

SETTLE_SECONDS = 60.0
ALL_TEXTS = 1.0


def parse_share(text: str) -> float:
    """A share as people write it: `10%` or `0.1`; above 0 and at most 1.

    Raises:
        BadParameter: It is none.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f"{text!r} is no share; write 10% or 0.1, above 0 and at most 100%")
    return share


Version = Annotated[str | None, typer.Argument(help="Model version; with --off, leave it out.")]
Share = Annotated[
    float | None, typer.Option(help="Of the callers, e.g. 10%; with --shadow of the texts.", parser=parse_share)
]
Shadow = Annotated[bool, typer.Option("--shadow", help="Ask it silently, to compare; nobody gets its answers.")]
Off = Annotated[bool, typer.Option("--off", help="The champion answers alone, until the next order or champion.")]


def canary(
    context: typer.Context,
    why: Why,
    version: Version = None,
    share: Share = None,
    shadow: Shadow = False,
    off: Off = False,
    who: Who = None,
) -> None:
    """Let a challenger answer a sticky share of the callers, or compare it in silence; or end that."""
    session: Session = context.obj
    settings, role = session.settings, role_of(version, share, shadow, off)
    ledger = history.decisions(settings)
    if version is not None:
        check(version, ledger, _tags(session, version))
    terms = CanaryTerms(
        role=role, share=0.0 if off else share or ALL_TEXTS, decision=ledger[-1].number if ledger else 0
    )
    order = orders.written(CommandKind.CANARY, version, who, why).model_copy(update={"canary": terms})
    orders.send(settings, order)
    _show(settings, order)


def role_of(version: str | None, share: float | None, shadow: bool, off: bool) -> CanaryRole:
    """What is asked for.

    Raises:
        RefusedError: The options contradict each other, or something is missing.
    """
    if off:
        if version is not None or share is not None or shadow:
            raise RefusedError("--off ends whatever is beside the champion; name no version, share or --shadow with it")
    elif version is None:
        raise RefusedError("name the version, or --off; 'tidemill versions' lists them")
    elif share is None and not shadow:
        raise RefusedError("say --share, of the callers, or --shadow")
    return ServingRole.SHADOW if shadow else ServingRole.CANARY


def check(version: str, ledger: Sequence[Decision], found: tuple[Mapping[str, str] | None, bool]) -> None:
    """Refuses what the servers would refuse.

    Args: found: The version's tags in the registry, None if it is not there; whether its weights are.
    Raises:
        RefusedError: Saying why this version cannot answer beside the champion.
    """
    fold = CanaryFold(CanarySettings())
    for decision in ledger:
        fold.decided(decision)
    objection = fold.objection(version) or objection_to_tags(version, *found)
    if objection is not None:
        raise RefusedError(objection)


def _tags(session: Session, version: str) -> tuple[Mapping[str, str] | None, bool]:
    found = session.registry().version(version)
    return (found.tags, found.has_weights) if found else (None, False)


def _show(settings: Settings, order: Command) -> None:
    """Waits until every server that speaks follows the order, or says why not."""

    def following() -> list[Replica]:
        found = replicas(history.servers(settings), settings.server.silent_seconds, utc_now())
        return [replica for replica in found if not replica.is_silent]

    if not orders.wait_for(lambda: all(follows(replica, order) for replica in following()), SETTLE_SECONDS):
        late = ", ".join(replica.replica_id for replica in following() if not follows(replica, order))
        raise RefusedError(f"ordered, but not followed yet by {late}; see 'tidemill status'")
    for line in said(following(), order):
        console.print(line, markup=False, soft_wrap=True)


def follows(replica: Replica, order: Command) -> bool:
    """Whether a replica does as ordered, or has said that it cannot."""
    canary, terms = replica.canary, order.canary
    if order.target is None or terms is None:
        return canary is None
    if canary is None or (canary.version, canary.role, canary.share) != (order.target, terms.role, terms.share):
        return False
    return canary.phase in (ServerPhase.SERVING, ServerPhase.FAILED)


def said(following: Sequence[Replica], order: Command) -> list[str]:
    """What came of the order, a line for each replica that could not follow."""
    if not following:
        return ["Ordered; no server is running, those that start will follow."]
    if order.target is None or order.canary is None:
        return [f"The champion answers alone on {len(following)} of {len(following)} servers."]
    failed = [each for each in following if each.canary and each.canary.phase is ServerPhase.FAILED]
    does = (
        f"is silently asked {order.canary.share:.4g} of the texts"
        if order.canary.role is ServingRole.SHADOW
        else f"answers {order.canary.share:.2%} of the callers"
    )
    summary = f"Version {order.target} {does} on {len(following) - len(failed)} of {len(following)} servers."
    return [summary, *(f"{each.replica_id}: {each.canary.reason}" for each in failed if each.canary)]
