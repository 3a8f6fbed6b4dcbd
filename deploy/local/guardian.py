"""Ends a stack whose supervisor was killed: `python -m deploy.local.guardian HOME RUN`, stdin held by the supervisor.

The kernel tells each child that its parent is gone, but a child may not listen, and its own children are not told.
"""

import sys
from pathlib import Path

from deploy.local.marked import sweep

# As long as the supervisor itself gives the services.
DRAIN_SECONDS = 30.0


def main() -> None:
    """Waits until the supervisor is gone, then until nothing of its run is left. A newer run is not touched."""
    home, run = Path(sys.argv[1]), sys.argv[2]
    sys.stdin.buffer.read()
    for left in sweep(home, DRAIN_SECONDS, run):
        print(f"the supervisor was gone, so this was ended: {left}", flush=True)


if __name__ == "__main__":
    main()
