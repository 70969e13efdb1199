"""The search agent: copies the nearest demonstration (not built yet)."""
