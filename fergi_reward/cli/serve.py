"""`fergi-reward serve`, and `client`, which writes what asks it."""

from pathlib import Path

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.errors import FergiRewardError, MissingDependencyError
from fergi_reward.files.atomic import write_text
from fergi_reward.serve.options import ClientOptions, ServeOptions
from fergi_reward.version import __version__


@command
def serve(options: ServeOptions) -> None:
    """Serve the reward over HTTP to other training programs. Ctrl-C or SIGTERM ends it when all is answered."""
    try:
        import prometheus_client as prometheus_client
        import starlette as starlette
        import uvicorn as uvicorn
    except ImportError as error:
        raise MissingDependencyError(str(error.name), "fergi-reward serve", "serve") from error
    from fergi_reward.serve.run import run

    run(options)


@command
def client(options: ClientOptions) -> Answer:
    """Write the client of `serve` as one file, which needs Python 3.9, numpy and pillow, and not this package."""
    source = Path(__file__).parents[1].joinpath("remote_reward.py").read_text(encoding="utf-8")
    text = f"# Written by `fergi-reward client`, version {__version__}.\n{source}"
    if options.out.is_file() and options.out.read_bytes() != text.encode("utf-8"):
        raise FergiRewardError(
            f"--out {options.out} is there and is not what would be written: delete it, or choose another"
        )
    write_text(options.out, text)
    return Answer(f"{options.out}: import RemoteReward from it", {"out": str(options.out), "version": __version__})
