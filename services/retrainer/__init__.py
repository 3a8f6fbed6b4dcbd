"""Turns a closed window into a candidate: plan, job, registration."""
