"""The programs of eval/ as modules: they import each other by their bare names, as Python finds its neighbours."""

import json

import pytest
import torch
from click.testing import CliRunner

from fergi_reward.toy import emoji


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    yield
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def run():
    """Run a command of a program with the toy's checkpoints and without originals; returns what its JSON file holds."""

    def run(command, out, *options):
        places = [f"--checkpoint={name}={folder}" for name, folder in emoji.checkpoints().items()]
        arguments = ["--out", str(out), "--rounds=1", f"--threads={torch.get_num_threads()}", "--no-originals"]
        with pytest.MonkeyPatch.context() as changes:
            changes.setenv("OMP_NUM_THREADS", "1")  # which the programs set: it is put back afterwards
            result = CliRunner().invoke(command, [*arguments, *places, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(out.read_text())

    return run
