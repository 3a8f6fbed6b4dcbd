"""Child processes that never outlive the service that started them."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int | None = None) -> None:
    """Has the kernel kill this process when its parent ends, however it ends. Call it first thing in a child.

    Linux only; elsewhere it does nothing. The kernel means the parent's *thread* that started the child, so start
    children from a thread that lives as long as they should.

    Args:
        parent_pid: The parent's process id as the parent knows it. If it is no longer this process's parent, the
            parent died before this call and the process ends at once.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)
