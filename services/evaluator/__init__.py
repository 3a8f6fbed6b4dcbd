"""Turns a candidate into a decision: scores models on the same rows, pairs them, and asks the gate."""
