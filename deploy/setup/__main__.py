"""`python3 -m deploy.setup`: everything that a fresh clone needs, once."""

import fcntl
import sys
import time

from deploy.setup import stamp
from deploy.setup.commands import SetupError
from deploy.setup.paths import VENV
from deploy.setup.steps import STEPS


def main() -> int:
    """Sets the clone up, or finds that it is; two calls at once wait for each other."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what tells an older one)
        print(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 …")
        return 2
    VENV.mkdir(exist_ok=True)
    with (VENV / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_current():
            return 0
        try:
            set_up()
        except SetupError as error:
            print(f"set-up: {error}", file=sys.stderr)
            return 1
    return 0


def set_up() -> None:
    """Runs every step and leaves the stamp."""
    begun = time.monotonic()
    for number, (what, step) in enumerate(STEPS, start=1):
        print(f"[{number}/{len(STEPS)}] {what}", flush=True)
        step()
    stamp.write()
    print(f"set up in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
