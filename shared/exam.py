"""What the retrainer lays beside an adapted base, for its gate to compare: names among the run's artifacts."""

EXAM_FOLDER = "exam"
# In it: the parent as a model that guesses words, and a classifier made of either base by the same training.
PARENT, PROBE_PARENT, PROBE_ADAPTED = "parent", "probe_parent", "probe_adapted"
