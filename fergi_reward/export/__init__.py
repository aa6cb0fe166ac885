"""Weights of a calibration, or by hand, in the configurations of other training programs.

- `host.py`: from a fit to weights on a host's scales of the scores; `hosts.py`: the hosts by name.
- `flow_grpo.py`, `flow_factory.py`, `verl_omni.py`, `unirl.py`, `trl.py`, `numpy_lines.py`: what each has and reads.
- `run.py`: chooses the fit and writes the text; `options.py`: the options of the command.
"""
