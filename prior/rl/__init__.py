"""Fine-tuning a policy by reinforcement learning, after VPT (arXiv 2206.11795): what it plays for, and how it learns of it."""
