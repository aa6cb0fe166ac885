"""`fergi-reward serve`."""

from fergi_reward.cli.command import command
from fergi_reward.core.errors import MissingDependencyError
from fergi_reward.serve.options import ServeOptions


@command
def serve(options: ServeOptions) -> None:
    """Serve the reward over HTTP to other training programs; ends by Ctrl-C or SIGTERM, when all is answered."""
    try:
        import prometheus_client as prometheus_client
        import starlette as starlette
        import uvicorn as uvicorn
    except ImportError as error:
        raise MissingDependencyError(str(error.name), "fergi-reward serve", "serve") from error
    from fergi_reward.serve.run import run

    run(options)
