"""Brings a fresh clone to life with nothing but Python's standard library, pip and the package registries."""
