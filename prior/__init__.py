"""The behavioural prior, and the network parts that it shares with the inverse dynamics model."""
