"""Preferences and reactions of participants, collected by a page that measures faces without keeping one."""
