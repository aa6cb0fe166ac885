"""A module that does not survive its import, in two lines."""

raise RuntimeError("its licence\nhas expired")
