"""Network parts: image trunk, attention, heads."""
