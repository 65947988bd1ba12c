"""The commands `clockwork demo` and `clockwork eval`."""

from __future__ import annotations

from pathlib import Path

import click

from evaluation import eval_bundle, eval_paper
from evaluation.demo import demo_frames, run_demo
from evaluation.terminal import Bar, check_folders, device_option
from runtime.console import stdout_console
from runtime.options import json_option, print_json

__all__ = ["demo", "evaluate"]


class _DefaultCommand(click.Group):
    """A group in which `bundle` is meant where no sub-command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["bundle", *args]
        return super().parse_args(ctx, args)


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("clockwork-demo"),
    show_default=True,
    help="Folder for the bundle, the overlay video, the plots and the JSON report.",
)
@device_option
@json_option
def demo(out: Path, device: str, as_json: bool) -> None:
    """Convert the embedded shapes net and play generated video with every schedule."""
    check_folders(out)
    with Bar(demo_frames()) as bar:
        result = run_demo(out, device=device, progress=bar.watch)
    if as_json:
        print_json(result.as_json())
        return
    out_console = stdout_console()
    out_console.print(result.summary.table().rich())
    pairs = ((name, found.scores.mean_iu) for name, found in result.moving.items())
    out_console.print("Mean IU on the moving shots: " + ", ".join(f"{n} {iu:.3f}" for n, iu in pairs))
    for sentence in result.summary.findings():
        out_console.print(sentence)
    out_console.print("Written: " + ", ".join(str(path) for path in result.files))


@click.group("eval", cls=_DefaultCommand)
def evaluate() -> None:
    """Score schedules on labelled video: `eval BUNDLE ...`, or the paper's tables: `eval paper ...`.

    Without a bundle the embedded shapes net is scored on generated video. See `eval bundle --help`.
    """


evaluate.add_command(eval_bundle.command)
evaluate.add_command(eval_paper.command)
