"""The long-running services and the command. None imports another; they meet in Kafka's topics and the registry."""

import os

# Read once, when torch loads its OpenMP runtime. Waiting threads that spin take the cores from the machine's other
# processes: with the cores busy, training was measured 2 to 6 times slower than with threads that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
