"""The ports on Redis."""
