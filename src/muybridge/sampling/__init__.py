"""Pure functions that turn a field of velocities into clips."""
