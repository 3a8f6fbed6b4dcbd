"""The gate of bases: whether later trainings may start from a base that was adapted to the stream's unlabelled text."""
