"""`clockwork eval`: schedules scored on labelled video, or the paper's tables."""

from __future__ import annotations

import click

from clockwork_onnx.commands import eval_bundle, eval_paper

__all__ = ["command"]


class _DefaultCommand(click.Group):
    """A group in which `bundle` is meant where no sub-command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["bundle", *args]
        return super().parse_args(ctx, args)


@click.group("eval", cls=_DefaultCommand)
def command() -> None:
    """Score schedules on labelled video: `eval BUNDLE ...`, or the paper's tables: `eval paper ...`.

    Without a bundle the embedded shapes net is scored on generated video. See `eval bundle --help`.
    """


command.add_command(eval_bundle.command)
command.add_command(eval_paper.command)
