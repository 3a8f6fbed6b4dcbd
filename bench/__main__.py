"""Every bench after the other: `python -m bench [--quick]`. Each prints its table and one JSON object."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Runs them all, also after one has failed; returns how many failed."""
    names = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    failed = [name for name in names if subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments]).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
