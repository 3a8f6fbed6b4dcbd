"""What the monitor asks of others, as commands. The same alarm gives the same command, however often it is raised."""

from datetime import datetime

from services.evaluator.bets import ALARM
from services.evaluator.drift import Drift
from services.evaluator.ledger import WATCH
from services.evaluator.reign import Reign
from services.evaluator.vigil import Alarm
from shared.events import Command, CommandKind
from shared.monitor_settings import MonitorSettings


def rollback(reign: Reign, alarm: Alarm, settings: MonitorSettings, now: datetime) -> Command:
    """To the version that is proven better, and only while the one that it is better than is champion."""
    better, champion, bet = reign.contenders[alarm.role].version, reign.champion.version, alarm.bet
    return Command(
        command_id=f"watch-{reign.number}-{better}",
        kind=CommandKind.ROLLBACK,
        target=better,
        against=champion,
        who=WATCH,
        why=(
            f"version {champion} is proven worse than version {better} by more than {settings.floor:g}: on "
            f"{bet.flips.rows} fresh reviews up to offset {bet.offset} only {better} was right {bet.flips.losses} "
            f"times, only {champion} {bet.flips.wins} times; evidence {bet.pot:.0f} of {settings.alarm:g}"
        ),
        numbers=bet.numbers() | {ALARM: settings.alarm},
        issued_at=now,
    )


def drifted(reign: Reign, drift: Drift, now: datetime) -> Command:
    """To close the window that holds the drift, if it is still open."""
    return Command(
        command_id=f"drift-{reign.number}-{drift.offset}",
        kind=CommandKind.DRIFT,
        target=str(drift.offset),
        who=WATCH,
        why=f"errors of version {reign.champion.version} rose from {drift.before:.3f} to {drift.after:.3f} (ADWIN)",
        issued_at=now,
    )
