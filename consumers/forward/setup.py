"""What the engine must know before the first document: templates; and whether an index there is another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.shape import Shape
from headrace.consumers.forward.templates import META, template
from headrace.errors import ConfigError, HeadraceError, Unavailable

Fields = Mapping[str, Any]


def prepare(engine: Engine, shapes: Sequence[Shape]) -> None:
    """Put the templates there, and let existing indices hold fields that are new.

    Safe to repeat, and to do from several workers at once.

    Raises:
        ConfigError: an index or a template of the name is there and is another's; the message says how it differs.
        Unavailable: the engine is away.
    """
    for shape in shapes:
        put_template(engine, shape)
        _adapt(engine, shape)


def put_template(engine: Engine, shape: Shape) -> None:
    """Have indices that come to be hold these documents.

    Raises:
        ConfigError: the name is taken, or the engine does not take the template.
        Unavailable: the engine is away.
    """
    _refuse_others(engine, shape)
    try:
        with engine.asked(f"template {shape.alias}"):
            body = template(shape.alias, shape.fields, shape.lifecycle(engine.lifecycle))
            engine.client.indices.put_index_template(name=shape.alias, **body)
    except Unavailable:
        raise
    except HeadraceError as e:
        raise ConfigError(str(e)) from None


def _refuse_others(engine: Engine, shape: Shape) -> None:
    """Raises:
    ConfigError: the name of the alias or of the template is taken.
    """
    name, client = shape.alias, engine.client
    with engine.asked(f"index and template {name}"):
        named = client.options(ignore_status=404).indices.get_alias(index=name)
        templates = client.options(ignore_status=404).indices.get_index_template(name=name).get("index_templates", [])
    if name in named:
        raise ConfigError(
            f"search engine {engine.url} has an index named {name}, and headrace needs the name for an alias: "
            "delete or reindex it, or give the pipeline another name"
        )
    if any(found["index_template"].get("_meta") != META for found in templates):
        raise ConfigError(
            f"search engine {engine.url} has a template named {name} that is not headrace's: "
            "delete it, or give the pipeline another name"
        )


def _adapt(engine: Engine, shape: Shape) -> None:
    """Add new fields to the indices there are.

    Raises:
        ConfigError: one of them has other types.
    """
    with engine.asked(f"mapping of {shape.patterns}"):
        found = engine.client.indices.get_mapping(index=[shape.patterns, shape.alias], ignore_unavailable=True)
    for name, held in sorted(found.items()):
        mappings = held["mappings"]
        there = mappings.get("properties", {})
        differences = _differences(shape.fields, there)
        if mappings.get("dynamic") != "strict":
            differences.append(f"its mapping is dynamic: {mappings.get('dynamic', 'true')}, ours is strict")
        if differences:
            raise ConfigError(
                f"index {name} of {engine.url} has other mappings than {shape.topic.name} needs: "
                f"{'; '.join(differences)}. Move it away, or fill it anew from the log: `headrace search rebuild`"
            )
        if _missing(shape.fields, there):
            with engine.asked(f"new fields in {name}"):
                engine.client.indices.put_mapping(index=name, properties=dict(shape.fields))


def _differences(wanted: Fields, there: Fields, path: str = "") -> list[str]:
    """What an index has otherwise, in words."""
    found = []
    for name, mapping in wanted.items():
        if name not in there:
            continue
        have, want = _type(there[name]), _type(mapping)
        if have != want:
            found.append(f"{path}{name} is {have}, and would be {want}")
        elif "properties" in mapping:
            found += _differences(mapping["properties"], there[name].get("properties", {}), f"{path}{name}.")
    return found


def _missing(wanted: Fields, there: Fields) -> bool:
    return any(
        name not in there
        or ("properties" in mapping and _missing(mapping["properties"], there[name].get("properties", {})))
        for name, mapping in wanted.items()
    )


def _type(mapping: Fields) -> str:
    """The engine leaves out that an object is one."""
    return str(mapping.get("type", "object"))
