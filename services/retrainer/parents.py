"""The models that a training starts from, as verified files on this machine."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog

from services.retrainer.plan import ParentVersion
from shared.classifier.digest import verify
from shared.errors import ModelError
from shared.registry import Registry

log = structlog.get_logger("retrainer")
# Below home: the versions that a training starts from, the adapted base that it starts from instead, and what an
# adaptation goes on from. Each keeps only what was asked for last, so that nobody deletes what another one reads.
PARENTS, BASES, ADAPTED_FROM = "parents", "bases", "adapted-from"


class Parents:
    """Brings versions from the registry; only those asked for last are kept."""

    def __init__(self, registry: Registry, home: Path, folder: str = PARENTS) -> None:
        """Args: folder: below home, for nobody else."""
        self._registry, self._root = registry, home.resolve() / folder

    def known(self, versions: Sequence[str], digests: Mapping[str, str]) -> tuple[ParentVersion, ...]:
        """Versions with their digests.

        Raises:
            ModelError: No candidate told one of the digests.
        """
        missing = [version for version in versions if version not in digests]
        if missing:
            raise ModelError(f"no candidate tells the digest of version {missing[0]}; set training.start to 'base'")
        return tuple(ParentVersion(version=version, digest=digests[version]) for version in versions)

    def at_hand(self, parents: Sequence[ParentVersion]) -> tuple[ParentVersion, ...]:
        """Those whose files can be had: the weights of old versions may have been deleted since."""
        return tuple(parent for parent in parents if self._can_be_had(parent))

    def folders(self, parents: Sequence[ParentVersion]) -> tuple[Path, ...]:
        """Each parent's files, verified.

        Raises:
            ModelError: One cannot be had, or is not what it was.
        """
        self._keep_only(parents)
        return tuple(self._downloaded(parent) for parent in parents)

    def _can_be_had(self, parent: ParentVersion) -> bool:
        try:
            self._downloaded(parent)
        except ModelError as error:
            log.warning("parent_left_out", version=parent.version, error=str(error))
            return False
        return True

    def _downloaded(self, parent: ParentVersion) -> Path:
        folder = self._folder(parent)
        self._registry.download(parent.version, folder)
        try:
            verify(folder, parent.digest)
        except ModelError:
            shutil.rmtree(folder)  # or the damaged copy would be found again
            raise
        return folder

    def _keep_only(self, parents: Iterable[ParentVersion]) -> None:
        wanted = {self._folder(parent) for parent in parents}
        for other in self._root.glob("*"):
            if other not in wanted:
                shutil.rmtree(other, ignore_errors=True)

    def _folder(self, parent: ParentVersion) -> Path:
        return self._root / f"{parent.version}-{parent.digest[:16]}"
