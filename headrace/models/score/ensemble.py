"""A tree ensemble as an ONNX node holds it: parallel lists over the nodes of all trees."""

from __future__ import annotations

from typing import Any, NamedTuple

import onnx


class Ensemble(NamedTuple):
    """The trees of one ONNX node. Places number the nodes of all its trees, in the order of the file.

    Attributes:
        fields: attribute -> its value, as ``onnx.helper`` gives it.
        where: (tree, number in that tree) -> place.
        true, false: place of a branching node -> place of its child on that side.
        roots: places that are nobody's child.
    """

    fields: dict[str, Any]
    where: dict[tuple[int, int], int]
    true: dict[int, int]
    false: dict[int, int]
    roots: list[int]

    @classmethod
    def of(cls, node: onnx.NodeProto) -> Ensemble:
        """The trees of a TreeEnsembleClassifier or TreeEnsembleRegressor.

        Raises:
            KeyError, ValueError: an attribute is missing, or names a node that is not there.
        """
        fields = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        trees = fields["nodes_treeids"]
        where = {at: place for place, at in enumerate(zip(trees, fields["nodes_nodeids"], strict=True))}
        true, false = (
            {
                place: where[tree, child]
                for place, (tree, child, mode) in enumerate(
                    zip(trees, fields[f"nodes_{side}nodeids"], fields["nodes_modes"], strict=True)
                )
                if mode != b"LEAF"
            }
            for side in ("true", "false")
        )
        below = {*true.values(), *false.values()}
        return cls(fields, where, true, false, [place for place in where.values() if place not in below])
