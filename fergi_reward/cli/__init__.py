"""The command `fergi-reward`.

- `overview.py`: all commands by name; `app.py`: how they run; one file per command or group of them: `score.py`,
  `scorers.py`, `calibrate.py`, `evaluate.py`, `best_of.py`, `annotate.py`, `react.py`, `predictor.py`, `data.py`,
  `train.py`, `prompt_grpo.py`.
- `command.py`: from options to an answer; `parameters.py`: options in `--help`; `config_file.py`: options from YAML;
  `errors.py`: how a program ends.
- `old_spellings.py`: spellings that work for one release more.
"""


def main() -> None:
    """Run it; what prints the overview and the version imports nothing else."""
    import sys

    from fergi_reward.cli.overview import answer_at_once

    if text := answer_at_once(sys.argv[1:]):
        print(text)
        sys.exit(0)
    from fergi_reward.cli.app import main as run

    run()
