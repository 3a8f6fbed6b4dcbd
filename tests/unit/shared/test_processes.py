"""A child ends with its parent, even if nobody gets to tell it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the promise is for Linux")

# Both inherit standard output: it reads to its end only when the last of them is gone.
CHILD = """
import os, signal
from shared.processes import die_with_parent
die_with_parent({parent})
os.write(1, b".")
signal.pause()
"""
PARENT = "import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); signal.pause()"


def test_a_child_does_not_outlive_a_killed_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD.format(parent="os.getppid()")], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read(1) == b"."
        parent.kill()
        assert parent.stdout.read() == b""


def test_a_child_whose_parent_died_before_it_asked_ends_at_once() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD.format(parent=1)], capture_output=True, check=False)
    assert (child.returncode, child.stdout) == (1, b"")


def test_a_child_of_a_living_parent_goes_on() -> None:
    code = f"import shared.processes; shared.processes.die_with_parent({os.getpid()}); print('on')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"on\n"
