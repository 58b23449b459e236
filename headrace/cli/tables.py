"""Tables as every screen shows them: a line under the heads, no frame, nothing that identifies a row cut short."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text


def table(*columns: Column, title: str = "") -> Table:
    """A table of these columns."""
    return Table(
        *columns,
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="cyan",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def name(head: str) -> Column:
    """A column of names, ids or coordinates: never cut, never wrapped."""
    return Column(head, no_wrap=True)


def number(head: str) -> Column:
    """A column of numbers."""
    return Column(head, justify="right", no_wrap=True)


def fold(head: str) -> Column:
    """A column of words, wrapped where there is no room."""
    return Column(head, overflow="fold")


def details(title: str = "") -> Table:
    """A table of names and values, without heads."""
    shown = table(name(""), fold(""), title=title)
    shown.show_header = False
    shown.box = None
    return shown


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is, neither highlighted nor read as markup."""
    console.print(Text(text, style=style), highlight=False)
