"""Ways to run the loop: what each window's training starts from and learns again, and who may serve."""

from dataclasses import dataclass
from enum import StrEnum

from bench.gate.desk import Wants, ahead, always, significantly_ahead
from shared.training_settings import LabelBalancedReplaySettings, ReservoirReplaySettings, TrainingSettings

ALL_ROWS = 1e9
"""A share of replay that no stream has rows for: everything is learned again."""


class Kind(StrEnum):
    """What a policy is to ours: a variant is our gate with another learning."""

    OURS = "ours"
    GATED = "gated"
    UNGATED = "ungated"
    VARIANT = "variant"


@dataclass(frozen=True)
class Policy:
    """One way.

    Attributes:
        wants: Whether a challenger serves, from one look at its rows against the champion; None: our gate.
        pooled: That look is at the latest held-out rows of many windows, not only at the newest's.
        windows: Learns only the first so many; None: all.
    """

    name: str
    text: str
    kind: Kind
    training: TrainingSettings
    wants: Wants | None = None
    pooled: bool = False
    windows: int | None = None


DEFAULTS = TrainingSettings()
OURS, ALWAYS, FINE_TUNING, EVERYTHING = "ours", "always", "fine-tuning", "everything"
POLICIES = (
    Policy(OURS, "gate and learning by default", Kind.OURS, DEFAULTS),
    Policy("estimate", "estimate > champion, fresh rows", Kind.GATED, DEFAULTS, ahead),
    Policy("pooled", "estimate > champion, pooled rows", Kind.GATED, DEFAULTS, ahead, pooled=True),
    Policy("significant", "McNemar p < .05, fresh rows", Kind.GATED, DEFAULTS, significantly_ahead),
    Policy(ALWAYS, "every challenger serves", Kind.UNGATED, DEFAULTS, always),
    Policy(
        FINE_TUNING,
        "the same without replay",
        Kind.UNGATED,
        DEFAULTS.model_copy(update={"replay_share": 0.0}),
        always,
    ),
    Policy(
        "last",
        "from the base, last window only",
        Kind.UNGATED,
        DEFAULTS.model_copy(update={"start": "base", "replay_share": 0.0}),
        always,
    ),
    Policy(
        EVERYTHING,
        "from the base, all windows",
        Kind.UNGATED,
        DEFAULTS.model_copy(update={"start": "base", "replay_share": ALL_ROWS}),
        always,
    ),
    Policy("never", "first window only, then never", Kind.UNGATED, DEFAULTS, always, windows=1),
)


def _variant(name: str, text: str, **training: object) -> Policy:
    return Policy(name, text, Kind.VARIANT, DEFAULTS.model_copy(update=training))


VARIANTS = (
    _variant("replay-0", "our gate, no replay", replay_share=0.0),
    _variant("replay-1", "our gate, replay 1 per new row", replay_share=1.0),
    _variant("replay-2", "our gate, replay 2 per new row", replay_share=2.0),
    _variant("replay-4", "our gate, replay 4 per new row", replay_share=4.0),
    _variant("by-label", "our gate, replay by label", replay=LabelBalancedReplaySettings()),
    _variant("reservoir", "our gate, replay by reservoir", replay=ReservoirReplaySettings()),
    _variant("champion", "our gate, from the champion", start="champion"),
    _variant("soup", "our gate, from the average", start="soup"),
    _variant("base", "our gate, from the base", start="base"),
)
