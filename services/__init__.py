"""The long-running services and the command. None imports another; they meet in Kafka's topics and the registry."""

import os

# Read once, when torch loads its OpenMP runtime. Threads that wait between two operations spin for some microseconds,
# then sleep. Spinning on takes the cores from the machine's other processes: with these busy, training was measured 2
# to 6 times slower. Sleeping at once costs 60 us an operation, of which one short text has some hundred: in int8 two
# threads took longer for it than one. ACTIVE, since the other policies let threads sleep at once where there are more
# than processors, as there are in a server.
WAITING_THREADS = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "1000"}
for _name, _value in WAITING_THREADS.items():
    os.environ.setdefault(_name, _value)
