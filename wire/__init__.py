"""The seam to Redis that publisher and subscriber share."""
