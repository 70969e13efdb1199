"""What people run: commands, games, players, reports."""
