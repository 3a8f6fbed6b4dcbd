"""The training job of `dying`: it dies at the step that the environment names, and mostly takes its service along."""

import sys

from services.retrainer import job
from tests.chaos.dying import JOB, arm

if __name__ == "__main__":
    arm(JOB, service_pid=int(sys.argv[2]))
    job.main(sys.argv[1:])
