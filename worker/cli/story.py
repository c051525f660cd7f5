"""curb demo."""

from typing import Annotated

import typer

from worker.cli.output import Json
from worker.cli.status import Status


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running afterwards, until Ctrl-C.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="One run on the real provider, with a budget of 5 cents.")
    ] = False,
    json: Json = False,
) -> None:
    """Play the whole story on real servers, in about a minute.

    Then a table and links. Exit status 0 only if everything came out as it should.
    """
    from worker.cli import loops
    from worker.demo.play import play

    went_well = loops.run(play(keep=keep, live=live, as_json=json))
    raise typer.Exit(Status.DONE if went_well else Status.FAILED)
