"""The command `fergi-reward`.

- `app.py`: all commands by name; one file per command or group of them: `score.py`, `scorers.py`, `calibrate.py`,
  `evaluate.py`, `best_of.py`, `annotate.py`, `react.py`, `predictor.py`, `data.py`, `train.py`, `prompt_grpo.py`.
- `command.py`: from options to an answer; `config_file.py`: options from YAML; `errors.py`: how a program ends.
- `old_spellings.py`: spellings that work for one release more.
"""


def main() -> None:
    """Run it; nothing of it is imported before."""
    from fergi_reward.cli.app import main as run

    run()
