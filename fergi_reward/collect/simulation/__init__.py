"""A study rehearsed: simulated participants who use the real page in Chromium.

`chromium.py` starts the browser, `faces.py` draws a face whose brows are lowered by a known distance, `people.py` says
who the participants are and what they like, `camera.py` (with `camera.js`) makes the camera that shows such a face,
`participant.py` is the way of one participant through the page, `rehearsal.py` runs a server and all participants, and
`outcome.py` compares what was measured with what was simulated.
"""
