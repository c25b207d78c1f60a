"""Where images come from: the published sets, a user's own table and the simulator."""
