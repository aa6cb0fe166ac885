"""What everything stands on: errors, names of things, devices, seeds, signals."""
