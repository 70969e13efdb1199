"""A prior that is told what to do, after STEVE-1 (arXiv 2306.00937): goals are MineCLIP embeddings, given here as tensors."""
