"""What is claimed of our gate, judged from the runs."""

from typing import Any, NamedTuple

from bench.gate.policies import POLICIES, Tally, estimate, summary

OURS, RIVAL = "e", "b"
FEWER_TIMES = 20
CLAIMED_ROWS = (100, 200, 500)
"""With 2,000 fresh rows an estimate is itself a fair judge; what then holds is shown, but not claimed."""


class Claim(NamedTuple):
    """One sentence at one number of fresh rows: whether the runs bear it out, and the numbers behind that."""

    fresh_rows: int
    text: str
    holds: bool
    numbers: dict[str, Any]

    @property
    def claimed(self) -> bool:
        """Whether it is one of ours, and not only shown."""
        return self.fresh_rows in CLAIMED_ROWS


def claims(runs: dict[int, dict[str, list[Tally]]]) -> list[Claim]:
    """Judges every claim. Args: tallies by fresh rows and policy; place n of each list is the same run of luck."""
    return [judge(size, tallies) for size, tallies in runs.items() for judge in (_harm, _accuracy, _unbeaten)]


def _harm(size: int, tallies: dict[str, list[Tally]]) -> Claim:
    ours, rival = (summary(tallies[name])["harmful"] for name in (OURS, RIVAL))
    text = f"harmful promotions: at most 1/{FEWER_TIMES} of '{RIVAL}'"
    numbers = {"ours": ours.mean, "ours_error": ours.error, "rival": rival.mean, "rival_error": rival.error}
    return Claim(size, text, FEWER_TIMES * ours.mean <= rival.mean, numbers)


def _accuracy(size: int, tallies: dict[str, list[Tally]]) -> Claim:
    pairs = zip(tallies[OURS], tallies[RIVAL], strict=True)
    gain = estimate([ours.final_accuracy - rival.final_accuracy for ours, rival in pairs])
    text = f"final accuracy: no lower than '{RIVAL}'"
    return Claim(size, text, gain.mean >= 0, {"gain": gain.mean, "gain_error": gain.error})


def _unbeaten(size: int, tallies: dict[str, list[Tally]]) -> Claim:
    ours = summary(tallies[OURS])
    better = [policy.name for policy in POLICIES if policy.peer and _better(summary(tallies[policy.name]), ours)]
    return Claim(size, "no peer's policy is better in both", not better, {"better_in_both": better})


def _better(peer: dict[str, Any], ours: dict[str, Any]) -> bool:
    accurate = peer["final_accuracy"].mean > ours["final_accuracy"].mean
    return bool(accurate and peer["harmful"].mean < ours["harmful"].mean)
