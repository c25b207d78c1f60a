"""Open the images of the published sets, of a user's own table and of the simulator."""
