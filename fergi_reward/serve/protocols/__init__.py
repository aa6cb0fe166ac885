"""The ways to ask, a file for each: what a body means, and how the rows are answered.

Each has `parse(body, ...) -> Body` and `answer(...)` of the rows.
`asked.py` is what they share.
"""
