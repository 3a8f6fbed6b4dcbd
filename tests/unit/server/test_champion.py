from datetime import UTC, datetime

import pytest

from services.server.champion import Champion, ChampionFold, wanted
from shared.events import Decision, Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
V1, V2 = Champion("1"), Champion("2")


def decision(number: int, version: str, verdict: Verdict, after: str | None, digest: str | None = None) -> Decision:
    return Decision(
        number=number,
        version=version,
        window_id=None,
        verdict=verdict,
        reasons=(),
        champion_before=None,
        champion_after=after,
        model_digest=digest,
        decided_at=NOW,
    )


def fold(*decisions: Decision) -> Champion | None:
    folded = ChampionFold()
    for each in decisions:
        folded.add(each)
    return folded.champion


def test_an_empty_ledger_names_nobody() -> None:
    assert fold() is None


def test_the_last_promotion_names_the_champion_and_its_files() -> None:
    champion = fold(decision(1, "1", Verdict.PROMOTE, "1", "a" * 64), decision(2, "2", Verdict.PROMOTE, "2", "b" * 64))
    assert champion == Champion("2", "b" * 64, NOW, 2)


@pytest.mark.parametrize("verdict", [Verdict.REJECT, Verdict.UNDECIDED])
def test_other_verdicts_leave_the_champion(verdict: Verdict) -> None:
    champion = fold(decision(1, "1", Verdict.PROMOTE, "1", "a" * 64), decision(2, "2", verdict, "1", "b" * 64))
    assert champion is not None
    assert champion.version == "1"


def test_a_rollback_finds_the_files_of_the_version_that_it_goes_back_to() -> None:
    champion = fold(
        decision(1, "1", Verdict.PROMOTE, "1", "a" * 64),
        decision(2, "2", Verdict.PROMOTE, "2", "b" * 64),
        decision(3, "1", Verdict.ROLLBACK, "1"),
    )
    assert champion == Champion("1", "a" * 64, NOW, 3)


def test_an_entry_read_again_changes_nothing() -> None:
    first = decision(1, "1", Verdict.PROMOTE, "1", "a" * 64)
    second = decision(2, "2", Verdict.PROMOTE, "2", "b" * 64)
    assert fold(first, second, first) == fold(first, second)


@pytest.mark.parametrize(
    ("ledger", "is_current", "alias", "champion"),
    [
        (V1, True, "2", V1),  # the ledger is the truth
        (V1, False, "2", V2),  # unless it cannot be read
        (V1, False, "1", V1),
        (None, True, "2", None),  # also where it names nobody
        (None, False, "2", V2),
        (V1, False, None, V1),  # both gone: as it was
        (None, True, None, None),
    ],
)
def test_whom_to_serve(ledger: Champion | None, is_current: bool, alias: str | None, champion: Champion | None) -> None:
    assert wanted(ledger, is_current, alias) == champion
