"""A study page: people look at pictures, their browsers measure their faces, and they say what they prefer.

- `options.py`: what `fergi-reward collect` takes; `run.py`: from these options to a server that runs.
- `study.py`: the folder of a study; `settings.py`: what must stay; `pictures.py`: its pictures; `store.py`: its
  database; `consent.py`: what participants agree to; `schedule.py`: who sees what.
- `app.py`: what participants may ask; `operator_pages.py`: what operators may; `web.py`: what all answers pass through;
  `access.py`: who may ask; `refusals.py`: what is refused.
- `participants.py`, `trials.py`, `judging.py`: what is stored; `videos.py`: what is kept of faces with `--offer-video`;
  `counting.py`: which showing counts; `state.py`: how far somebody is; `frames.py`: what a
  browser measured; `clips.py`: clips of it.
- `export.py`, `tables.py`: what other commands read; `calibrate_now.py`: a calibration of it.
- `withdrawal.py`, `retention.py`: how participants are deleted.
- `page_files.py`: the files of the page, which are in `page/`.
"""
