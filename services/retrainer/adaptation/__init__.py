"""Adapts the base to the stream's unlabelled text, by masked-language modelling."""
