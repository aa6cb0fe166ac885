"""`fergi-reward export`."""

from fergi_reward.cli.command import Answer, command
from fergi_reward.core.command_line import command_line
from fergi_reward.export.options import ExportOptions


@command
def export(options: ExportOptions) -> Answer:
    """Write the weights of a calibration as another training program reads them."""
    from fergi_reward.core.places import without_folders
    from fergi_reward.export.run import export as run
    from fergi_reward.files.atomic import write_text

    exported = run(options, without_folders(command_line()))
    if options.out is None:
        return Answer(exported.text.rstrip("\n"), exported.record())
    write_text(options.out, exported.text)
    return Answer(f"weights for {options.for_}: {options.out}", exported.record() | {"out": str(options.out)})
