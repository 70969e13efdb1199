"""Games behind one interface: gymnasium.Env with MineRL-shaped observations and actions."""
