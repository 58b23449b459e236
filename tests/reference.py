"""The reference page, made from signatures and doc strings: ``python -m tests.reference`` writes docs/reference.md."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import headrace as hr
from headrace import errors, testing
from headrace.client.async_events import AsyncEventProducer
from headrace.client.events import EventProducer
from headrace.client.follow import ModelSubscriber, Scored
from headrace.client.models import Model, Models
from headrace.client.query import Query
from headrace.config import Fluentd, Search, Settings, WorkerState
from headrace.governance.evidence import Evidence

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
ROOMS = (EventProducer, AsyncEventProducer, ModelSubscriber, Scored, Models, Model, Evidence, Query)
"""What a client's rooms give."""


def page() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "What `import headrace as hr` offers, what its client gives back, what `headrace.testing` has, and every\n"
        "setting. Made from the doc strings (`python -m tests.reference`) and kept true by a test; what is not listed\n"
        "may change between releases.",
        "## import headrace as hr",
    ]
    for name in hr.__all__:
        found = getattr(hr, name)
        if found is not errors:
            parts += described(f"hr.{name}", found)
    parts.append("## What a client gives")
    for room in ROOMS:
        parts += described(room.__name__, room)
    parts.append("## headrace.testing")
    for name in testing.__all__:
        parts += described(f"testing.{name}", getattr(testing, name))
    parts += ["## Settings", inspect.getdoc(Settings) or ""]
    parts.append(
        "Setting `x` is `x` in `headrace.toml` and `HEADRACE_X` in the environment; one of a section is below\n"
        "`[section]` in the file, and `HEADRACE_SECTION__X`."
    )
    for section, model in (("", Settings), ("worker_state", WorkerState), ("search", Search), ("fluentd", Fluentd)):
        parts += settings_table(section, model)
    parts += ["## Errors", "All are in `hr.errors`. A command prints the message alone and exits with the code."]
    rows = [
        f"| `{name}` | {first_line(kind)} | {kind.exit_code} |"
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.HeadraceError)
    ]
    parts.append("\n".join(["| error | when | exit code |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def described(name: str, found: Any) -> Iterator[str]:
    """A class or function: its signature, its doc string, its fields and methods."""
    yield f"### {name}"
    yield f"```python\n{signature(name.split('.')[-1], found)}\n```"
    yield prose(inspect.getdoc(found) or "")
    if not inspect.isclass(found):
        return
    if told := field_docs(found):
        yield "\n".join(f"- `{field}`: {doc}" for field, doc in told.items())
    for method, member in vars(found).items():
        if method.startswith("_"):
            continue
        if callable(member) or isinstance(member, classmethod):
            function = getattr(found, method)
            yield f"```python\n{signature(method, function)}\n```\n\n{indented(inspect.getdoc(function) or '')}"
        elif isinstance(member, property) or hasattr(member, "attrname"):
            yield f"`.{method}`\n\n{indented(inspect.getdoc(member) or '')}"


def signature(name: str, found: Any) -> str:
    """A call as it is written, one parameter a line where there are many."""
    try:
        given = inspect.signature(found)
    except (TypeError, ValueError):
        return name
    parameters = [p for p in given.parameters.values() if p.name != "self"]
    gives = given.return_annotation
    result = "" if inspect.isclass(found) or gives is given.empty else f" -> {gives}"
    line = unquoted(f"{name}{given.replace(parameters=parameters, return_annotation=given.empty)}{result}")
    if len(line) <= 110:
        return line
    texts: list[str] = []
    keyword_only = False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            texts.append("*")
        texts.append(str(p))
    return unquoted(f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f"){result}")


def unquoted(text: str) -> str:
    """A signature without the quotes of postponed annotations."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)


def prose(doc: str) -> str:
    """A doc string as Markdown: its sections become lists, its example a block of code."""
    doc = re.sub(r":(class|func|meth|attr|mod):", "", doc.replace("``", "`"))
    doc, _, example = doc.partition("Example::\n")
    lines: list[str] = []
    section = False
    for line in doc.splitlines():
        bare = line.strip()
        if line.rstrip() in ("Args:", "Attributes:", "Raises:", "Returns:"):
            lines += [f"*{bare.removesuffix(':')}*", ""]
            section = True
        elif section and line.startswith("    ") and not line.startswith("        ") and ": " in bare:
            name, _, text = bare.partition(": ")
            lines.append(f"- `{name}`: {text}")
        elif section and bare:
            lines.append(f"  {bare}" if lines[-1].startswith(("- ", "  ")) else bare)
        else:
            lines.append(line)
    if example:
        lines.append(f"```python\n{textwrap.dedent(example).strip()}\n```")
    return "\n".join(lines)


def indented(doc: str) -> str:
    return textwrap.indent(prose(doc), "> ", lambda _: True)


def field_docs(found: type) -> dict[str, str]:
    """Class attribute -> the string after it in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    told: dict[str, str] = {}
    for node, after in pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            told[node.target.id] = " ".join(after.value.value.split()).replace("``", "`")
    return told


def settings_table(section: str, model: type[Any]) -> Iterator[str]:
    yield f"### [{section}]" if section else "### At the top"
    told = field_docs(model)
    rows = []
    for name, info in model.model_fields.items():
        default = "" if inspect.isclass(info.default) or info.default is None else repr(info.default)
        shown = f"`{default}`" if default and "(" not in default else ""
        rows.append(f"| `{name}` | {shown} | {told.get(name, '')} |")
    yield "\n".join(["| setting | default | |", "|---|---|---|", *rows])


def first_line(found: Any) -> str:
    return (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
