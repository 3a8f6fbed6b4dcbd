"""The text classifier as retrainer, evaluator and server share it: one tokenisation, one batching, one file format.

Importing the package is cheap; torch and transformers are loaded by the modules that need them.
"""
