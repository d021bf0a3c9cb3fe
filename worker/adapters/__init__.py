"""The answers to the worker's ports; foreign libraries end here."""
