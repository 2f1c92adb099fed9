"""YAML. Somebody else may have written what is read: no input raises anything but ValueError, or runs away."""

from typing import Any

import yaml

DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's, where PyYAML was built with it: it takes a fifth of the time."""


def write_yaml(value: Any) -> str:
    """The value as YAML: keys in their order, and letters as they are."""
    try:
        return yaml.dump(value, Dumper=DUMPER, sort_keys=False, allow_unicode=True)
    except UnicodeEncodeError:  # libyaml refuses what the name of a file may have: bytes that are no UTF-8
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


class PlainLoader(yaml.SafeLoader):
    """YAML in which an alias names a single value or a flat list or mapping.

    By aliases of nested ones, a few lines stand for billions of values, or for a list that contains itself.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            node = self.anchors.get(event.anchor)
            if isinstance(node, yaml.CollectionNode) and not is_flat(node):
                raise yaml.MarkedYAMLError(
                    problem=f"the alias *{event.anchor} names a nested list or mapping", problem_mark=event.start_mark
                )
        return super().compose_node(parent, index)


def is_flat(node: yaml.CollectionNode) -> bool:
    """Whether the collection is complete and contains single values only."""
    members = [one for item in node.value for one in (item if isinstance(item, tuple) else (item,))]
    return node.end_mark is not None and all(isinstance(one, yaml.ScalarNode) for one in members)


def read_yaml(text: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """The content of a YAML text. Raises ValueError, with one line, where it has none."""
    try:
        return yaml.load(text, Loader=loader)
    except Exception as error:  # PyYAML's constructors raise whatever Python does: `!!int x`, a month 99, deep nesting
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
