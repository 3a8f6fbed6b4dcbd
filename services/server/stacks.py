"""Where every thread of this process stands, for whoever wonders why a model does not answer."""

import sys
import threading
import traceback


def stacks() -> str:
    """Each thread's name and stack, the innermost call last."""
    frames, names = sys._current_frames(), {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"{names.get(ident, 'unknown')} ({ident})\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames.items()
    )
