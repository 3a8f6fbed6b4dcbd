"""How a window is learned, and how the base is adapted to unlabelled text: the settings of the retrainer."""

from typing import Annotated, Literal

from pydantic import Field

from shared.section import Section


class BalancedReplaySettings(Section):
    """Replays every earlier window alike."""

    kind: Literal["balanced"] = "balanced"


class ReservoirReplaySettings(Section):
    """Replays from a fixed memory of some rows of every earlier window, each remembered row as likely as any other."""

    kind: Literal["reservoir"] = "reservoir"
    rows_per_window: int = Field(200, ge=1, description="Rows remembered of each window, drawn once and for ever.")


class LabelBalancedReplaySettings(Section):
    """Replays every earlier window alike, and of each window every label alike."""

    kind: Literal["label_balanced"] = "label_balanced"


class HardReplaySettings(Section):
    """Replays what the start model finds hardest, mixed with rows drawn by chance."""

    kind: Literal["hard"] = "hard"
    candidates: float = Field(3.0, ge=1, description="Rows scored, per row replayed; from every window alike.")
    hard_share: float = Field(0.5, ge=0, le=1, description="Of the replayed rows, those of highest loss.")


ReplaySettings = Annotated[
    BalancedReplaySettings | ReservoirReplaySettings | LabelBalancedReplaySettings | HardReplaySettings,
    Field(discriminator="kind"),
]


class FullAdapterSettings(Section):
    """Trains the model's own weights."""

    kind: Literal["full"] = "full"


class LoraAdapterSettings(Section):
    """Trains small matrices beside the weights (LoRA), added to them before the model is saved."""

    kind: Literal["lora"] = "lora"
    r: int = Field(16, ge=1, description="Rank: inner width of the matrices.")
    alpha: int = Field(32, ge=1, description="Their product is scaled by alpha / r.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Of what enters them.")
    targets: tuple[str, ...] = Field(
        ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
        min_length=1,
        description="Names of the linear layers that get one; these are DistilBERT's.",
    )


AdapterSettings = Annotated[FullAdapterSettings | LoraAdapterSettings, Field(discriminator="kind")]


class FrozenSettings(Section):
    """Weights that training leaves as they are."""

    embeddings: bool = Field(False, description="Words and positions; saves time, since most weights are there.")
    layers: int = Field(0, ge=0, description="Lowest layers of the transformer.")


class DistillationSettings(Section):
    """Holds the answers on replayed rows to those of the model that training starts from, if that is not the base."""

    weight: float = Field(0.0, ge=0, description="Of the distance from its answers, beside cross-entropy. 0: off.")
    temperature: float = Field(2.0, gt=0, description="Softens both answers; higher looks more at the lesser labels.")


class LabelQualitySettings(Section):
    """When a window's labels are too suspicious to be learned."""

    enabled: bool = Field(True, description="Look at the labels before training; needs a champion that answers.")
    limit: float = Field(0.4, gt=0, lt=1, description="Share of suspicious labels, of the window or of a source.")
    alpha: float = Field(0.001, gt=0, lt=1, description="Level at which the share must be proven above the limit.")
    source_share: float = Field(0.2, gt=0, le=1, description="Part of the window from which a source condemns it.")


class TrainingSettings(Section):
    """How a window is learned."""

    start: Literal["chain", "champion", "base", "soup"] = Field(
        "chain",
        description="Weights that training starts from. chain: the newest waiting challenger not below "
        "`chain_floor`, else champion; soup: average of champion, that challenger and versions promoted before.",
    )
    chain_floor: float = Field(
        -0.01, ge=-1, le=1, description="A challenger whose measured edge over the champion is below this is no start."
    )
    soup_versions: int = Field(3, ge=2, le=10, description="soup: versions averaged, at most; newest first.")
    backlog: Literal["each", "merge"] = Field("each", description="Waiting windows: one model each, or one for all.")
    replay_share: float = Field(0.5, ge=0, description="Rows of earlier windows, per new row.")
    replay: ReplaySettings = Field(BalancedReplaySettings(), description="How rows of earlier windows are chosen.")
    adapter: AdapterSettings = Field(FullAdapterSettings(), description="What is trained: all, or LoRA's matrices.")
    frozen: FrozenSettings = FrozenSettings()
    distillation: DistillationSettings = DistillationSettings()
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of each label's weight given to all labels.")
    early_stop_patience: int = Field(
        0,
        ge=0,
        description="Evaluations on validation rows, one a checkpoint, without a better one, until training stops "
        "and goes back to the best. 0: off; off too with fewer than 30 validation rows.",
    )
    epochs: float = Field(2.0, gt=0)
    batch_rows: int = Field(16, ge=1)
    learning_rate: float = Field(1e-4, gt=0, description="Peak, for AdamW.")
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, le=1, description="Of all steps; then cosine down to a tenth.")
    max_grad_norm: float = Field(1.0, gt=0)
    max_tokens: int = Field(256, ge=8, description="Longer rows are truncated in training.")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the device has it.")
    seed: int = Field(17, ge=0, description="With the window's sequence, seeds everything.")
    checkpoint_steps: int = Field(50, ge=1, description="Between checkpoints.")
    log_steps: int = Field(5, ge=1, description="Between points of the loss curve.")
    processes: int = Field(1, ge=1, description="torchrun processes.")
    label_quality: LabelQualitySettings = LabelQualitySettings()
    attempts: int = Field(3, ge=1, description="Failures after which the window yields a failed candidate.")
    decision_wait_seconds: float = Field(900.0, ge=0, description="For the candidate before this one to be decided.")
    timeout_seconds: float = Field(6 * 3600.0, gt=0, description="A job that runs longer is killed.")


class AdaptationSettings(Section):
    """Adapts the base to the stream's unlabelled text by masked-language modelling, while no window waits."""

    enabled: bool = Field(True, description="Needs unlabelled reviews; without any, nothing happens.")
    min_rows: int = Field(500, ge=1, description="Training rows of unlabelled text, not learned yet, that start one.")
    replay_share: float = Field(0.5, ge=0, description="Rows of earlier unlabelled windows, per new row.")
    unsettled_rows: int = Field(
        5000,
        ge=0,
        description="Rows of windows whose bases the gate left undecided, learned again besides, at most.",
    )
    epochs: float = Field(3.0, gt=0)
    head_epochs: float = Field(
        3.0, gt=0, description="Passes that train the head alone, of a base that comes without one."
    )
    head_learning_rate: float = Field(1e-3, gt=0, description="Peak in those passes.")
    learning_rate: float = Field(1e-4, gt=0, description="Peak, for AdamW.")
    mask_share: float = Field(0.15, gt=0, lt=1, description="Of tokens to be guessed.")
    probe_rows: int = Field(
        1000,
        ge=1,
        description="Labelled rows, the newest, that both bases are fine-tuned on for the gate; none is begun before "
        "there are so many.",
    )
    restart: bool = Field(
        True, description="The next window after a base was accepted is learned from it, not from the champion's line."
    )
    restart_rows: int = Field(5000, ge=0, description="Rows of earlier windows learned again in that training.")
