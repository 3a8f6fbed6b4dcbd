"""What the monitor asks of others."""

from services.evaluator.alarms import drifted, rollback
from services.evaluator.bets import ALARM, Bet, bet_of
from services.evaluator.comparison import Flips
from services.evaluator.drift import Drift
from services.evaluator.exam import Model
from services.evaluator.reign import Reign
from services.evaluator.vigil import Alarm
from shared.events import CommandKind
from shared.metrics import Role
from shared.monitor_settings import MonitorSettings
from tests.unit.evaluator.builders import DIGEST, NOW

REIGN = Reign(
    7, {Role.CHAMPION: Model("3", DIGEST), Role.PREVIOUS: Model("2", DIGEST), Role.ANCHOR: Model("1", DIGEST)}, 99
)


def test_a_rollback_names_both_versions_and_the_numbers_that_it_rests_on() -> None:
    bet = Bet(1234, Flips(wins=5, losses=40, ties=155), both_right=140, pot=321.4)
    alarm = Alarm(Role.ANCHOR, bet)
    command = rollback(REIGN, alarm, MonitorSettings(), NOW)
    assert (command.kind, command.who) == (CommandKind.ROLLBACK, "watch")
    assert (command.target, command.against) == ("1", "3")
    for number in ("200 fresh reviews", "1234", "only 1 was right 40 times", "only 3 5 times", "evidence 321 of 200"):
        assert number in command.why
    assert bet_of(command.numbers) == bet
    assert command.numbers[ALARM] == 200
    assert command == rollback(REIGN, alarm, MonitorSettings(), NOW)


def test_a_drift_names_the_offset_that_showed_it() -> None:
    command = drifted(REIGN, Drift(1234, 0.1, 0.3), NOW)
    assert (command.kind, command.target, command.against) == (CommandKind.DRIFT, "1234", None)
    assert "errors of version 3 rose from 0.100 to 0.300" in command.why
    assert command.command_id != drifted(REIGN, Drift(1235, 0.1, 0.3), NOW).command_id
