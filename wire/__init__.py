"""The seam to Redis that publisher, subscriber and worker share."""
