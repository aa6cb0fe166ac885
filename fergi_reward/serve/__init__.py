"""The reward as a server: other stacks ask it over HTTP, and their requests meet in one batch.

- `options.py`: what `fergi-reward serve` takes; `run.py`: from these options to a server that runs.
- `app.py`: the addresses, and what each request passes through; `access.py`: who may ask.
- `workers.py`: several processes that score; `worker_processes.py`: on this machine,
  `ray_workers.py`: on a Ray cluster.
- `scoring.py`: requests that meet become one batch; `admission.py`: how much may wait.
- `pictures.py`: what a request holds, as pictures; `protocols/`: a file for each way to ask.
- `metrics.py`: what Prometheus reads; `request_log.py`: a line per request; `openapi.py`: the description of the
  addresses.
"""
