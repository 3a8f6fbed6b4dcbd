"""How fast one core curates: rows a second of each step of a review's way, on short and long reviews.

`python -m bench.curation [--quick] [--file reviews.jsonl] [--json FILE]`: a table, then one JSON object. Without a file
the reviews are made from a seed, with the blemishes of real ones. The peer of the near-duplicate step is the library's
plain use: one `MinHash.update` a shingle.
"""

import argparse
import gzip
import json
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from datasketch import MinHash, MinHashLSH

from services.ingestor.duplicates import DuplicateIndex
from services.ingestor.quality import judge, judge_raw
from services.ingestor.split import side_of
from shared.settings import DuplicateSettings, QualitySettings, SplitSettings
from shared.text import NORMALISER_VERSION, canonical, prepare

COMMON = ("the", "and", "this", "that", "with", "are", "you", "they", "it", "not", "have", "was", "very", "good", "bad")
BLEMISHES = ("<br /><br />", "&amp;", "it\x92s", "bob@mail.org", "call 202-555-0143", "https://a.b/c", "café", "10/10")
FOREIGN = "Un film magnifique, les acteurs sont excellents et la musique accompagne parfaitement chaque image."
QUALITY, DUPLICATES = QualitySettings(), DuplicateSettings()
SPLIT = SplitSettings().record(NORMALISER_VERSION)


def make_reviews(rows: int, words: int, seed: int = 17) -> list[str]:
    """Texts of about so many words; one in ten has a blemish, one in twenty repeats an earlier text."""
    rng = random.Random(seed)
    vocabulary = [*COMMON] * 250 + ["".join(rng.choices("aeioulnrst", k=rng.randint(3, 9))) for _ in range(5_000)]
    reviews: list[str] = []
    for _ in range(rows):
        text = rng.choices(vocabulary, k=max(4, int(rng.gauss(words, words / 3))))
        if rng.random() < 0.1:
            text.insert(rng.randrange(len(text)), rng.choice(BLEMISHES))
        reviews.append(rng.choice(reviews) if reviews and rng.random() < 0.05 else " ".join(text) + ".")
    return reviews


def read_reviews(path: Path, rows: int) -> list[str]:
    """The `text` of the first rows of a JSON-lines file, plain or gzip."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(rows), strict=False)]


def measure(reviews: Sequence[str]) -> dict[str, float]:
    """Rows a second of each step, each given what the step before it made."""
    prepared = [prepare(text) for text in reviews]
    identities = [canonical(text) for text in prepared]
    judge(FOREIGN, QUALITY)  # loads the language model
    index = DuplicateIndex(DUPLICATES)
    return {
        "judge_raw": _rate(lambda text: judge_raw(text, QUALITY), reviews),
        "prepare": _rate(prepare, reviews),
        "judge": _rate(lambda text: judge(text, QUALITY), prepared),
        "canonical": _rate(canonical, prepared),
        "split": _rate(lambda identity: side_of(identity, SPLIT), identities),
        "duplicates": _rate(lambda identity: index.observe(identity, 1), identities),
        "duplicates_plain_library": _rate(_plain_library(), identities[:1000]),
    }


def curator_rate(rates: dict[str, float]) -> float:
    """Rows a second through all of the curator's steps, one after another."""
    return 1 / sum(1 / rates[step] for step in ("judge_raw", "prepare", "judge", "canonical", "split"))


def _plain_library() -> Callable[[str], object]:
    index = MinHashLSH(DUPLICATES.near_threshold, DUPLICATES.permutations)
    size = DUPLICATES.shingle_words

    def observe(identity: str) -> None:
        words, minhash = identity.split(), MinHash(DUPLICATES.permutations)
        for start in range(len(words) - size + 1):
            minhash.update(" ".join(words[start : start + size]).encode())
        if not index.query(minhash):
            index.insert(object(), minhash)

    return observe


def _rate(step: Callable[[str], object], texts: Sequence[str]) -> float:
    start = time.process_time()  # of this core alone, whatever else the machine is doing
    for text in texts:
        step(text)
    return len(texts) / (time.process_time() - start)


def _print_table(name: str, reviews: Sequence[str], rates: dict[str, float]) -> None:
    print(f"{name}: {len(reviews)} reviews, {mean(map(len, reviews)):.0f} characters on average")
    for step, rate in {**rates, "curator in all": curator_rate(rates)}.items():
        print(f"  {step:<26}{rate:>12,.0f} rows/s")


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--file", type=Path, help="JSON lines with a field 'text', instead of made reviews")
    parser.add_argument("--json", type=Path, help="write the JSON object here too")
    options = parser.parse_args()
    rows = 1_000 if options.quick else 10_000
    made = {"short": make_reviews(rows, 20), "long": make_reviews(rows // 2, 200)}
    sets = {options.file.name: read_reviews(options.file, rows)} if options.file else made
    results = {name: measure(reviews) for name, reviews in sets.items()}
    for name, reviews in sets.items():
        _print_table(name, reviews, results[name])
    report = {
        "bench": "curation",
        "python": platform.python_version(),
        "rows": {name: len(reviews) for name, reviews in sets.items()},
        "rows_per_second": {
            name: {step: round(rate, 1) for step, rate in {**rates, "curator": curator_rate(rates)}.items()}
            for name, rates in results.items()
        },
    }
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
