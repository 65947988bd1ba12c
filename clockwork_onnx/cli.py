"""The `clockwork` command: finds its sub-commands, turns errors into one line and an exit status.

0 success, 1 a check failed, 2 wrong usage or bad input, 130 interrupted, 143 terminated. Sub-commands are
imported only when they are used, so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from clockwork_onnx.settings import command_defaults, default_settings, read_settings, set_up_logging
from clockwork_onnx.stopping import Terminated, end_on_sigterm
from weights._version import __version__
from weights.errors import ClockworkError, UsageError
from weights.shown import shown

__all__ = ["cli", "main"]

COMMANDS = {
    "demo": "Port the embedded shapes net and play it with every schedule.",
    "inspect": "Layers, shapes, costs, and whether each layer ports exactly.",
    "convert": "Prototxt and weights to one ONNX model or a bundle of stages.",
    "verify": "A model's outputs against reference outputs.",
    "run": "A bundle over a video: labels, overlay, timeline, log.",
    "eval": "Score schedules on labelled video; the paper's tables.",
    "calibrate": "The threshold that fires the deep stage on a share of a video.",
    "advise": "Schedules compared on your own video; no labels needed.",
    "bench": "Time stages, schedules and the un-staged net in one run.",
    "accel": "Accel's demo: key frames, moved features, corrections; mean IU.",
    "deeplab": "DeepLab v1 from an experiment folder to the PASCAL VOC number.",
    "net": "Write the prototxts of published nets.",
    "weights": "Look into weights files and write them anew.",
    "data": "Prepare data sets and look at them.",
    "crop-offsets": "The offset of every Crop of a net, stated and computed.",
}
"""Name and one line of help of each command, in the order of --help: known without importing any of them."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"clockwork_onnx.commands.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CLOCKWORK"},
)
@click.version_option(__version__, prog_name="clockwork-onnx")
@click.option("-v", "--verbose", count=True, help="Say more of what is done; -vv still more.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file of defaults, a section per command [default: clockwork/config.toml among the user's "
    "settings, where it exists].",
)
@click.pass_context
def cli(ctx: click.Context, verbose: int, quiet: bool, config: Path | None) -> None:
    """Port trained Caffe networks to ONNX, cut them into stages, run them over video on a clock."""
    set_up_logging(verbose, quiet)
    path = config or default_settings()
    if config is None and not path.is_file():
        return
    settings = read_settings(path)
    unknown = [name for name in settings if name not in COMMANDS]
    if unknown:
        raise UsageError(
            "a section of no command", file=path, found=shown(unknown[0], 60), expected=", ".join(COMMANDS)
        )
    name = ctx.invoked_subcommand or ""
    command = cli.get_command(ctx, name)
    if command is not None:
        ctx.default_map = {name: command_defaults(settings.get(name, {}), name, command, path)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    end_on_sigterm()
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments), prog_name="clockwork", standalone_mode=False
        )
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        help_hint = f" (see {ctx.command_path} --help)" if ctx is not None else ""
        message = " ".join(error.format_message().split()).rstrip(".")
        click.echo(f"clockwork: error: {message}{help_hint}", err=True)
        return 2
    except ClockworkError as error:
        click.echo(f"clockwork: error: {error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        terminated = isinstance(error, Terminated) or isinstance(error.__cause__, Terminated)
        click.echo(f"clockwork: {'terminated' if terminated else 'interrupted'}", err=True)
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader of our output went away; say nothing more, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"clockwork: error: {where}{error.strerror or error}", err=True)
        return 2
