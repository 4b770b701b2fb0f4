"""`muybridge`: the verbs, and how errors are told."""

from __future__ import annotations

import sys

import typer

from . import (
    check,
    compare,
    diagnose,
    evaluate,
    export,
    generate,
    launch,
    prepare,
    quickstart,
    recipes,
    report,
    segmenter,
    stage,
    train,
    tune,
)

app = typer.Typer(
    name="muybridge",
    help="Train video generators on your own footage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb in (
    quickstart.quickstart,
    stage.stage,
    check.check,
    prepare.prepare,
    export.export,
    train.train,
    tune.tune,
    launch.launch,
    generate.generate,
    segmenter.segmenter,
    evaluate.evaluate,
    report.report,
    compare.compare,
    diagnose.diagnose,
    recipes.recipes,
):
    app.command()(_verb)


def _version(shown: bool) -> None:
    if shown:
        from .. import __version__

        print(f"muybridge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Runs the command line."""
    try:
        _run()
    except SystemExit as ended:
        several = sys.modules.get("muybridge.core.distributed")  # not imported for this alone
        if several is not None:
            several.end(ended.code)
        raise


def _run() -> None:
    """What a person can put right is told without a traceback."""
    from ..core.errors import Interrupted, MuybridgeError

    try:
        app()
    except MuybridgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(130 if isinstance(error, Interrupted) else 1)
    except KeyboardInterrupt:
        print("interrupted; to go on, run the same command again", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
