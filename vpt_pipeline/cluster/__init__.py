"""Labelling on a Ray cluster: a driver with its books, model workers, and decoding processes that may die alone."""
