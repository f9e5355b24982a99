"""The lessons, the tests and what is made from them."""

from __future__ import annotations

from functools import partial

from naslora_core.cli.command import command, option

command = partial(command, group="lessons")

LESSON = option("--lesson", type=int, metavar="N", help="one lesson by its number")


@command(
    LESSON,
    option("--data", metavar="FOLDER", help="your images/ and masks/, for lessons that take DATA"),
    option("--profile", metavar="NAME", help="smoke, laptop or gpu"),
    option("--set", action="append", default=[], metavar="NAME=VALUE", help="another parameter"),
    option("--record", action="store_true", help="keep the measured costs in the package"),
)
def workbook(arguments):
    """Run the lessons into build/workbook and make pages that open offline."""
    from naslora_workbook.publishing.workbook import given_parameters, run_workbook

    given = given_parameters(arguments.data, arguments.profile, arguments.set)
    return run_workbook(arguments.lesson, given, record=arguments.record)


@command(option("--fast", action="store_true", help="no lessons, no browser"), takes_more=True)
def test(arguments, more):
    """Check the code with ruff, then run the tests. More words go to pytest."""
    from naslora_workbook.publishing.checks import run_tests

    return run_tests(more, arguments.fast)


@command()
def lint(arguments):
    """Check the code and its format with ruff."""
    from naslora_workbook.publishing.checks import run_lint

    return run_lint()


@command(LESSON)
def notebooks(arguments):
    """Execute changed lessons (or the one named) from notebooks/text into notebooks/."""
    from naslora_workbook.publishing.refresh import refresh

    return refresh(arguments.lesson)


@command(LESSON)
def class_(arguments):
    """Write cleared working copies of the lessons into my_notebooks; keep what is there."""
    from naslora_workbook.publishing.classroom import hand_out

    hand_out(arguments.lesson)


@command(LESSON)
def reset(arguments):
    """Restore the working copy of one lesson; the old one is backed up."""
    from naslora_workbook.publishing.classroom import reset

    reset(arguments.lesson)


@command(option("--steps", type=int, default=200), option("--seed", type=int, default=0))
def hero(arguments):
    """Make the README's first figure: train once on camouflage, draw, record."""
    from naslora_workbook.publishing.hero import make

    make(arguments.steps, arguments.seed)


@command()
def tables(arguments):
    """Write the tables of the READMEs and the lessons' cost lines from recorded files."""
    from naslora_workbook.publishing.tables import write_tables

    return write_tables()


@command(needs_packages=False)
def clean(arguments):
    """Remove what the workbook and the tests build; trained models and .venv stay."""
    from naslora_workbook.publishing.checks import clean_up

    return clean_up()
