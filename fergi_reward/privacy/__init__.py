"""Privacy: a participant who withdraws is deleted everywhere."""
