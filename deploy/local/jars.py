"""Apache Kafka's jars: named by a committed lock, fetched from the Maven repository, each checked against its SHA-256.

`jgo` only finds and downloads: it warns about a wrong checksum where this module refuses.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.setup.paths import cache_dir

LOCK = Path(__file__).with_name("kafka.lock.json")
DOWNLOADS_AT_ONCE = 4
TIMEOUT_SECONDS = 30


class DamagedJarError(Exception):
    """A downloaded jar is not the locked one: the download broke, or the repository serves something else."""


@dataclass(frozen=True)
class Jar:
    """One locked jar by its Maven coordinates. `size` is in bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """Its place in a Maven repository."""
        name = f"{self.artifact}-{self.version}.jar"
        return Path(*self.group.split("."), self.artifact, self.version, name)

    def is_whole(self, repository: Path) -> bool:
        """Whether the repository holds exactly this jar."""
        path = repository / self.path
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256


def folder() -> Path:
    """The local repository."""
    return cache_dir() / "maven"


def read_lock(path: Path = LOCK) -> tuple[Jar, ...]:
    """The locked jars."""
    return tuple(Jar(**row) for row in json.loads(path.read_text()))


def damaged(jars: Iterable[Jar], repository: Path) -> list[Jar]:
    """Jars that are missing or differ from the lock."""
    return [jar for jar in jars if not jar.is_whole(repository)]


def class_path(repository: Path) -> tuple[Path, ...]:
    """Every locked jar's file, sorted: the start-up cache is bound to the order."""
    return tuple(sorted(repository / jar.path for jar in read_lock()))


def fetch(jars: Sequence[Jar], repository: Path, mirror: str | None = None) -> Iterator[Jar]:
    """Yields each missing or damaged jar once it lies there whole. A damaged one is fetched anew.

    Args:
        jars: What is wanted.
        repository: The local repository.
        mirror: Base address of another remote repository than jgo's default.

    Raises:
        DamagedJarError: A jar differs from the lock even when fetched anew.
    """
    missing = damaged(jars, repository)
    if not missing:
        return
    from jgo.maven import MavenContext  # 0.3 s that a set-up which is complete need not wait for

    remotes = {"mirror": mirror} if mirror else None
    context = MavenContext(repo_cache=repository, timeout=TIMEOUT_SECONDS, remote_repos=remotes)
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        yield from pool.map(lambda jar: _fetch_one(context, jar, repository), missing)


def _fetch_one(context: Any, jar: Jar, repository: Path) -> Jar:
    # An interrupted download stays behind as a truncated jar that jgo takes for the whole one.
    (repository / jar.path).unlink(missing_ok=True)
    context.project(jar.group, jar.artifact).at_version(jar.version).artifact(packaging="jar").resolve()
    if not jar.is_whole(repository):
        (repository / jar.path).unlink(missing_ok=True)
        raise DamagedJarError(f"{jar.path.name} does not match its locked SHA-256 and was deleted; try again")
    return jar


def main() -> None:
    """Fetches what is missing, saying how far it is."""
    wanted = read_lock()
    total = len(damaged(wanted, folder()))
    for number, jar in enumerate(fetch(wanted, folder()), start=1):
        print(f"      {number}/{total} {jar.path.name} {jar.size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
