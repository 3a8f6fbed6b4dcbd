"""Every setting of Tidemill: one typed tree.

Precedence, lowest first: the defaults here, the file named by `TIDEMILL_CONFIG` (default `tidemill.toml` in the
working folder), environment variables `TIDEMILL_SECTION__FIELD`. A field that does not exist is refused by name.
"""

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from shared.canary_settings import CanarySettings
from shared.errors import ConfigurationError
from shared.events import SplitRecord
from shared.gate_settings import BaseGateSettings
from shared.gate_settings import GateSettings as GateSettings
from shared.monitor_settings import MonitorSettings
from shared.plan_settings import PlanSettings
from shared.section import Section
from shared.training_settings import AdaptationSettings, TrainingSettings

CONFIG_VARIABLE = "TIDEMILL_CONFIG"
DEFAULT_CONFIG_FILE = "tidemill.toml"

SHORTEST_KEY = 16  # characters; whatever is shorter can be guessed
Key = Annotated[SecretStr, Field(min_length=SHORTEST_KEY)]
# Probes and scrapers carry no keys, and none of these answers a text.
OPEN_PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v2/health/live",
    "/v2/health/ready",
    "/ping",
    "/health",
)


class StreamSettings(Section):
    """What one stream of reviews is. One stream, one model; several streams differ in `prefix`."""

    prefix: str = Field("", pattern=r"^[a-z0-9_-]*$", description="Before topics, groups and models. '': none.")
    model: str = Field("sentiment", pattern=r"^[a-z0-9_-]+$", description="Registered model, after the prefix.")
    labels: tuple[str, ...] = Field(("negative", "positive"), min_length=2, description="Class names; order gives ids.")
    aliases: dict[str, str] = Field(
        {"neg": "negative", "pos": "positive"}, description="Other spellings of a label -> its class name."
    )

    @model_validator(mode="after")
    def _aliases_name_labels(self) -> "StreamSettings":
        unknown = sorted(set(self.aliases.values()) - set(self.labels))
        if unknown and "aliases" in self.model_fields_set:
            raise ValueError(f"aliases point to unknown labels {unknown}; labels are {list(self.labels)}")
        return self

    @property
    def registered_model(self) -> str:
        """The model's name in the registry."""
        return f"{self.prefix}.{self.model}" if self.prefix else self.model

    @property
    def registered_base(self) -> str:
        """The name in the registry of the base adapted to this stream's text."""
        return f"{self.registered_model}-base"

    @property
    def folder(self) -> str:
        """This stream's folder wherever several streams keep their files side by side."""
        return self.prefix or "tidemill"

    def identity(self, role: str) -> str:
        """A group's, client's or transaction's name within this stream, e.g. `tidemill.windower`."""
        return f"{self.folder}.{role}"


class KafkaSettings(Section):
    """How to reach Kafka, and how patient to be."""

    bootstrap_servers: str | None = Field(None, description="host:port,… of an external Kafka. Null: the embedded one.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: str | None = Field(None, description="PEM file of the authority that signed the brokers.")
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    replication_factor: int = Field(1, ge=1, description="Of topics that Tidemill creates.")
    labeled_partitions: int = Field(3, ge=1, description="Partitions of `reviews.labeled` at creation.")
    bootstrap_timeout_seconds: float = Field(5.0, gt=0, description="For one attempt; attempts are repeated.")
    request_timeout_seconds: float = Field(15.0, gt=0, description="For one request to a broker.")
    session_timeout_seconds: float = Field(10.0, gt=0, description="A member silent for this long leaves its group.")
    heartbeat_seconds: float = Field(1.0, gt=0, description="Between heartbeats; bounds the time of a rebalance.")
    transaction_timeout_seconds: float = Field(15.0, gt=0, description="The broker aborts older transactions.")
    commit_watchdog_seconds: float = Field(60.0, gt=0, description="A commit that takes longer ends the process.")
    poll_seconds: float = Field(0.5, ge=0.1, description="One wait for records.")
    max_poll_records: int = Field(2000, ge=1, description="Records of one poll, so of one transaction.")
    startup_patience_seconds: float = Field(600.0, gt=0, description="How long a service waits for Kafka at start.")


class RegistrySettings(Section):
    """How to reach MLflow."""

    tracking_uri: str | None = Field(None, description="URL of an external MLflow server. Null: the embedded one.")
    experiment: str = Field("tidemill", description="Experiment that runs are logged to, after the prefix.")
    timeout_seconds: float = Field(10.0, gt=0, description="For one HTTP request.")
    upload_timeout_seconds: float = Field(120.0, gt=0, description="For one artifact file.")
    attempts: int = Field(5, ge=1, description="For one call, before it fails as unavailable.")
    keep_versions: int = Field(5, ge=1, description="Newest versions whose weights are kept, beside the champion.")


class ArchiveSettings(Section):
    """Where window snapshots are kept."""

    url: str | None = Field(None, description="Folder or s3://bucket/prefix. Null: HOME/archive.")
    orphan_seconds: float = Field(86_400.0, gt=0, description="Age at which a snapshot without manifest is deleted.")


class QualitySettings(Section):
    """What a review must be to be learned from."""

    min_chars: int = Field(3, ge=1, description="Characters after normalisation.")
    max_chars: int = Field(50_000, ge=1, description="Characters after normalisation.")
    max_symbol_share: float = Field(0.5, ge=0, le=1, description="Of characters that are neither letter nor space.")
    max_control_share: float = Field(0.05, ge=0, le=1, description="Of control characters in the raw text.")
    max_char_run: int = Field(50, ge=2, description="Longest run of one character.")
    max_repetition: float = Field(0.7, ge=0, le=1, description="Share of words that repeat the commonest word.")
    max_compression: float = Field(8.0, gt=1, description="Times that zlib may shrink a text; prose: 1 to 3.")
    repetition_min_words: int = Field(12, ge=2, description="Texts with fewer words are not judged for repetition.")
    languages: tuple[str, ...] = Field(("en",), description="ISO 639-1 codes; empty: any language.")
    language_min_chars: int = Field(60, ge=1, description="Shorter texts are not judged for language.")
    language_min_confidence: float = Field(0.9, ge=0, le=1, description="To say that a text is in another language.")


class DuplicateSettings(Section):
    """What counts as the same review."""

    near_threshold: float = Field(0.8, gt=0, le=1, description="Estimated Jaccard similarity of word shingles.")
    permutations: int = Field(64, ge=16, description="MinHash size; more is more exact and slower.")
    shingle_words: int = Field(3, ge=1, description="Words in one shingle.")
    min_shingles: int = Field(5, ge=1, description="Texts with fewer shingles are compared exactly only.")
    remembered_windows: int = Field(
        10, ge=0, description="Earlier windows of the same kind whose reviews are compared too."
    )
    remembered_rows: int = Field(
        50_000, ge=0, description="Their kept rows at most, the newest window whole; 4 KB each."
    )


class SplitSettings(Section):
    """How reviews are parted by the hash of their text. Fixed for a stream's life."""

    salt: str = Field("tidemill", min_length=1, description="Another salt is another split.")
    holdout_share: int = Field(200, ge=1, le=850, description="Thousandths held out for the gate.")
    calibration_share: int = Field(50, ge=0, le=100, description="Thousandths for the temperature.")
    validation_share: int = Field(50, ge=0, le=100, description="Thousandths for early stopping.")

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> "SplitSettings":
        if self.holdout_share + self.calibration_share + self.validation_share >= 1000:
            raise ValueError("holdout_share, calibration_share and validation_share leave nothing to train on")
        return self

    def record(self, normaliser_version: str) -> SplitRecord:
        """What is written into each manifest and compared at start."""
        return SplitRecord(normaliser_version=normaliser_version, **self.model_dump())


class CountTriggerSettings(Section):
    """Closes a window by its size."""

    kind: Literal["count"] = "count"
    rows: int = Field(1000, ge=1, description="Kept rows, held-out ones included.")


class AgeTriggerSettings(Section):
    """Closes a window by its age."""

    kind: Literal["age"] = "age"
    seconds: float = Field(3600.0, gt=0, description="Broker time since the window's oldest review was published.")


class PerClassTriggerSettings(Section):
    """Closes a window once every class is there in number."""

    kind: Literal["per_class"] = "per_class"
    rows: int = Field(100, ge=1, description="Kept training rows of every class.")


TriggerSettings = Annotated[
    CountTriggerSettings | AgeTriggerSettings | PerClassTriggerSettings, Field(discriminator="kind")
]


class WindowSettings(Section):
    """When a window closes."""

    triggers: tuple[TriggerSettings, ...] = Field(
        (CountTriggerSettings(), AgeTriggerSettings()), min_length=1, description="The first that fires closes."
    )
    min_rows: int = Field(50, ge=1, description="Kept training rows that a trainable window needs.")
    max_rows: int = Field(20_000, ge=1, description="Curated reviews at which a window closes, trainable or not.")
    max_age_seconds: float = Field(7 * 86_400.0, gt=0, description="Age at which it closes, trainable or not.")
    tick_seconds: float = Field(1.0, gt=0, description="Between looks at the clock when nothing arrives.")


class UnlabeledWindowSettings(Section):
    """When a window of unlabelled text closes."""

    rows: int = Field(1000, ge=1, description="Kept rows, held-out ones included.")
    max_rows: int = Field(20_000, ge=1, description="Unlabelled reviews at which it closes, repetitions included.")
    max_age_seconds: float = Field(86_400.0, gt=0, description="Age at which it closes, however few rows it has.")


class IngestorSettings(Section):
    """Curation and windows."""

    instance: str = Field("0", pattern=r"^[A-Za-z0-9_-]+$", description="Names this curator among several.")
    mask_personal_data: bool = Field(True, description="E-mails, phones, cards, IBANs, IPs, URLs become placeholders.")
    quality: QualitySettings = QualitySettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    split: SplitSettings = SplitSettings()
    window: WindowSettings = WindowSettings()
    unlabeled: UnlabeledWindowSettings = UnlabeledWindowSettings()


class ModelSettings(Section):
    """The classifier itself."""

    base: str = Field("bundled", description="'bundled', a hub name, or a folder. 'tiny': random, for tests.")
    base_revision: str | None = Field(None, description="Commit of a hub model; pin it.")
    max_tokens: int = Field(512, ge=8, description="Longer texts are truncated, and the answer says so.")
    token_budget: int = Field(1024, ge=8, description="Of one batch of a server on a CPU, padding included.")
    gpu_token_budget: int = Field(16_384, ge=8, description="The same on a GPU, where the other is not looked at.")
    threads: int | None = Field(None, ge=1, description="Of torch, per process. Null: torch's own choice.")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda', 'cuda:1'.")


class EvaluatorSettings(Section):
    """Scoring and the ledger."""

    gate: GateSettings = GateSettings()
    base_gate: BaseGateSettings = BaseGateSettings()
    monitor: MonitorSettings = MonitorSettings()
    assert_alias_seconds: float = Field(30.0, gt=0, description="Between comparisons of the alias with the ledger.")
    attempts: int = Field(3, ge=1, description="To load a candidate, before it is rejected as unusable.")
    killed_attempts: int = Field(
        20, ge=1, description="The same for one whose scoring a signal ends, which want of memory does, too."
    )
    timeout_seconds: float = Field(3600.0, gt=0, description="Scoring that runs longer is ended: a failed attempt.")


class ServerSettings(Section):
    """The HTTP server."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="0: any free port.")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="Processes behind the port; each holds a model, and has its share of cores or a GPU.",
    )
    replica_id: str = Field("server-0", min_length=1, description="Names this replica in `servers.state`.")
    max_body_bytes: int = Field(1024 * 1024, ge=1, description="Larger bodies get 413.")
    max_texts: int = Field(256, ge=1, description="Texts of one request.")
    max_text_chars: int = Field(50_000, ge=1, description="Characters of one text; longer gets 422.")
    queue_tokens: int = Field(65_536, ge=1, description="Waiting; beyond, 429. A request alone may be larger.")
    bulk_lines: int = Field(64, ge=1, description="Lines of one NDJSON stream in work at once.")
    bulk_queue_share: float = Field(
        0.5, gt=0, le=1, description="Of `queue_tokens` that NDJSON streams may hold together; more lines wait outside."
    )
    bulk_inflation: float = Field(
        100.0,
        ge=1,
        description="Times its own bytes that a compressed NDJSON stream may stand for, beyond `max_body_bytes`.",
    )
    request_timeout_seconds: float = Field(
        30.0, gt=0, description="A request that cannot be answered within it gets 503. X-Request-Timeout may lower it."
    )
    drain_seconds: float = Field(20.0, gt=0, description="For requests under way at a stop.")
    retry_after_seconds: int = Field(5, ge=1, description="Told to clients while there is no champion.")
    check_alias_seconds: float = Field(30.0, gt=0, description="Between looks at the registry's champion.")
    silent_seconds: float = Field(
        90.0, gt=0, description="A replica that has announced nothing for this long is silent, says `tidemill status`."
    )
    late_seconds: float = Field(
        60.0, gt=0, description="After a decision, for every replica to serve it; then `tidemill status` exits with 1."
    )
    prediction_sample: float = Field(1.0, ge=0, le=1, description="Share of answers sent to `predictions.served`.")
    prediction_store_rows: int = Field(100_000, ge=1, description="Texts kept on disk for feedback by prediction id.")
    known_questions_timeout_seconds: float = Field(60.0, gt=0, description="For a new model to prove itself.")
    canary: CanarySettings = CanarySettings()
    plan: PlanSettings = PlanSettings()
    api_keys: tuple[Key, ...] = Field((), description="Of clients. With none here or in the file nobody is asked.")
    api_keys_file: Path | None = Field(None, description="More of them, one a line; read again when it changes.")
    admin_keys: tuple[Key, ...] = Field((), description="Open every path. Without any, `/v1/admin/*` is closed.")
    admin_keys_file: Path | None = Field(None, description="More of them, one a line; read again when it changes.")
    open_paths: tuple[str, ...] = Field(OPEN_PATHS, description="Asked for without a key, as probes do.")
    tls_certificate: Path | None = Field(None, description="PEM file, chain included. With `tls_key`: HTTPS only.")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key.")
    tls_key_password: SecretStr | None = Field(None, description="Of an encrypted key.")
    tls_client_ca: Path | None = Field(None, description="PEM file. Clients must show a certificate signed by it.")
    tls_trusted_ca: Path | None = Field(
        None, description="PEM file that `tidemill` knows the server's certificate by. Null: the system's authorities."
    )
    access_log_share: float = Field(
        0.01, ge=0, le=1, description="Of requests that are logged; every crash is, and some a second of 401 and 403."
    )

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "ServerSettings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; set both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca asks clients for certificates, which needs tls_certificate and tls_key")
        return self

    @property
    def scheme(self) -> Literal["http", "https"]:
        """What its addresses begin with."""
        return "http" if self.tls_certificate is None else "https"


class ServiceSettings(Section):
    """How every service lives."""

    host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="0: any free port. Workers of a server take this and the ports after it."
    )
    drain_seconds: float = Field(20.0, gt=0, description="From SIGTERM to the end, at most.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: JSON when not a terminal.")


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="TIDEMILL_", env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    home: Path = Field(Path(".tidemill"), description="Folder for all local state.")
    cache: Path = Field(
        Path("~/.cache/tidemill"), description="Folder for downloads and converted base models; may be shared."
    )
    stream: StreamSettings = StreamSettings()
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    archive: ArchiveSettings = ArchiveSettings()
    ingestor: IngestorSettings = IngestorSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    evaluator: EvaluatorSettings = EvaluatorSettings()
    server: ServerSettings = ServerSettings()
    service: ServiceSettings = ServiceSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Code, then environment, then the file; the first that names a field wins."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

    @cached_property
    def archive_url(self) -> str:
        """Where snapshots go."""
        return self.archive.url or str(self.home.resolve() / "archive")

    @cached_property
    def cache_folder(self) -> Path:
        """The cache, absolute."""
        return self.cache.expanduser().resolve()

    def bootstrap_servers(self) -> str:
        """Kafka's address.

        Raises:
            ConfigurationError: It is not set.
        """
        return _required(self.kafka.bootstrap_servers, "kafka.bootstrap_servers", "TIDEMILL_KAFKA__BOOTSTRAP_SERVERS")

    def tracking_uri(self) -> str:
        """MLflow's address.

        Raises:
            ConfigurationError: It is not set.
        """
        return _required(self.registry.tracking_uri, "registry.tracking_uri", "TIDEMILL_REGISTRY__TRACKING_URI")


def _required(value: str | None, field: str, variable: str) -> str:
    if value is None:
        raise ConfigurationError(f"{field} is not set; set {variable}, or start the local stack with 'tidemill up'")
    return value


def config_file() -> Path:
    """The settings file that is read if it exists."""
    return Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG_FILE))


def load_settings(**overrides: Any) -> Settings:
    """Reads the tree, from code, environment and file.

    Raises:
        ConfigurationError: Naming each wrong field, or the file that cannot be read.
    """
    explicit = CONFIG_VARIABLE in os.environ
    if explicit and not config_file().is_file():
        raise ConfigurationError(f"the settings file {config_file()} named by {CONFIG_VARIABLE} does not exist")
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{config_file()} is not valid TOML: {error}") from error
    except SettingsError as error:
        # Its text names the section only; the cause, which holds the value, is not told: it may be a secret.
        raise ConfigurationError(f"{error}; in the environment, lists and tables are JSON") from None
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error


def _refuse_unknown_variables() -> None:
    """pydantic-settings ignores a variable whose first part names no field, which would hide a typo."""
    known = {name.upper() for name in Settings.model_fields} | {"CONFIG"}
    for variable in os.environ:
        if variable.startswith("TIDEMILL_") and variable.removeprefix("TIDEMILL_").split("__")[0] not in known:
            raise ConfigurationError(f"environment variable {variable} names no setting; known: {sorted(known)}")


def _explain(error: ValidationError) -> str:
    """One line per wrong field. The rejected value is not quoted: it may be a secret."""
    lines = [f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
    return "settings refused: " + "; ".join(lines)
