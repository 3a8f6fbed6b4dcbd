"""The long-running services and the command. None imports another; they meet in Kafka's topics and the registry."""

import os
import sys

# Read once, when torch loads its OpenMP runtime, which on Linux is libgomp. Threads that wait between two operations
# spin for some microseconds, then sleep. Spinning on takes the cores from the machine's other processes: with these
# busy, training was measured 2 to 6 times slower. Sleeping at once costs 60 us an operation, of which one short text
# has some hundred: in int8 two threads took longer for it than one. ACTIVE, since under the other policies threads
# sleep at once where there are more than processors, as there are in a server.
WAITING_THREADS = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "1000"}
# Other runtimes know no bound: ACTIVE would let them spin on.
ELSEWHERE = {"OMP_WAIT_POLICY": "PASSIVE"}

if os.environ.keys().isdisjoint(WAITING_THREADS):
    os.environ.update(WAITING_THREADS if sys.platform == "linux" else ELSEWHERE)
