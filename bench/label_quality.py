"""How often a window is locked away for its labels, by how many are flipped and how good the champion is.

`python -m bench.label_quality [--quick] [--rows N] [--json FILE]`: a table, then one JSON object. A cell draws windows
of two labels and a champion of that accuracy with calibrated scores (log odds N(s^2/2, s^2)), flips a share of labels
and asks `services/retrainer/suspicion.py` with its defaults. A champion of .6 is one that meets a hard new domain.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy.stats import norm

from services.retrainer.suspicion import distrust, report_on, suspicious_rows
from shared.training_settings import LabelQualitySettings

ACCURACIES = (0.6, 0.7, 0.78, 0.85, 0.92)
FLIPPED = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
WINDOWS, QUICK_WINDOWS = 200, 20
POISONED, OF = 8, 200
SETTINGS = LabelQualitySettings()


def locked_away(accuracy: float, flipped: float, windows: int, rows: int, chance: np.random.Generator) -> float:
    """Share of windows that are not learned."""
    spread = 2 * norm.ppf(accuracy)
    refused = 0
    for _ in range(windows):
        truth = chance.integers(0, 2, rows)
        odds = chance.normal(spread**2 / 2, spread, rows) * (2 * truth - 1)
        positive = 1 / (1 + np.exp(-odds))
        labels = np.where(chance.random(rows) < flipped, 1 - truth, truth)
        suspicious = suspicious_rows(labels, np.stack([1 - positive, positive], axis=1))
        refused += distrust(report_on(suspicious, ["a source"] * rows), SETTINGS) is not None
    return refused / windows


def main() -> None:
    """Prints the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_WINDOWS} windows a cell")
    parser.add_argument("--rows", type=int, default=600, help="training rows of a window")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    windows, chance = QUICK_WINDOWS if options.quick else WINDOWS, np.random.default_rng(17)
    began = time.perf_counter()
    print(f"share of {windows} windows of {options.rows} rows that are locked away (limit {SETTINGS.limit:.0%})")
    print("champion's accuracy | flipped " + " ".join(f"{share:6.0%}" for share in FLIPPED))
    table: dict[str, dict[str, float]] = {}
    for accuracy in ACCURACIES:
        cells = {str(share): locked_away(accuracy, share, windows, options.rows, chance) for share in FLIPPED}
        table[str(accuracy)] = cells
        print(f"{accuracy:19.2f} |         " + " ".join(f"{share:6.2f}" for share in cells.values()), flush=True)
    summary = {
        accuracy: {
            "poisoned_learned": POISONED * (1 - cells["1.0"]),
            "clean_lost": (OF - POISONED) * cells["0.0"],
        }
        for accuracy, cells in table.items()
    }
    print(f"\nof {OF} windows, {POISONED} with every label flipped:")
    for accuracy, counts in summary.items():
        print(
            f"champion at {accuracy}: {counts['poisoned_learned']:.2f} poisoned windows learned "
            f"({POISONED} without the look), {counts['clean_lost']:.2f} clean ones lost"
        )
    figures = {
        "windows": windows,
        "rows": options.rows,
        "settings": SETTINGS.model_dump(),
        "locked_away": table,
        "of_200": summary,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
