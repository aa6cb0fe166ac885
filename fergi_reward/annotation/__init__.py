"""Preference pairs without asking: what a viewer's face says of two pictures, where it says enough."""
