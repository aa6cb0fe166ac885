"""The command `fergi-reward`."""


def main() -> None:
    """Run it; nothing of it is imported before."""
    from fergi_reward.cli.app import main as run

    run()
