"""Inputs of calls, each of which repeats those before: kept as one tree, so that what is repeated is there once.

A node is a message after those on the way to it from the root. Two trees share their nodes: in the exact one a message differs
from another by its key, in the rendered one messages of the agent are all alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipelines.ingest.assemble.keys import AGENT, Key, key_of
from pipelines.ingest.assemble.rows import Message


class Rendered:
    """A node of the tree in which messages of the agent are alike.

    Attributes:
        heads: Threads that have come to here, each with the exact node where it is.
    """

    __slots__ = ("children", "heads")

    def __init__(self) -> None:
        self.children: dict[Key, Rendered] = {}
        self.heads: dict[Any, Node] = {}


class Node:
    """A message after others.

    Attributes:
        parent: The node before; None for the root.
        key: The message's key.
        message: The message, as it was read first.
        depth: Messages up to here, this one included.
        rendered: The node of the other tree.
        texts: Hash of the roles and texts up to here.
        asked: Threads that a call was made in with exactly this input, as `threads` keeps them.
    """

    __slots__ = ("asked", "children", "depth", "key", "message", "parent", "rendered", "texts")

    def __init__(self, parent: Node | None, key: Key, message: Message | None, rendered: Rendered) -> None:
        self.parent = parent
        self.key = key
        self.message = message
        self.rendered = rendered
        self.children: dict[Key, Node] = {}
        self.depth: int = parent.depth + 1 if parent else 0
        self.texts: int = hash((parent.texts, *key[:2])) if parent else 0
        self.asked: list[Any] = []

    def child(self, key: Key, message: Message) -> Node:
        """The node of a message after this one."""
        found = self.children.get(key)
        if found is None:
            alike = AGENT if key[0] == "assistant" else key
            rendered = self.rendered.children.get(alike)
            if rendered is None:
                rendered = self.rendered.children[alike] = Rendered()
            found = self.children[key] = Node(self, key, message, rendered)
        return found

    def path(self) -> list[Node]:
        """The nodes from the first message to this one."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes


class Histories:
    """The tree of one conversation."""

    def __init__(self) -> None:
        self.root = Node(None, (), None, Rendered())
        self._known: dict[str, Key] = {}

    def key(self, message: Message) -> Key:
        """The message's key; of messages that have the same id, the first one's."""
        key = message.key
        if key is None:
            key = key_of(message.chat)
            if message.id is not None:
                key = self._known.setdefault(message.id, key)
            message.key = key
        return key

    def add(self, messages: Iterable[Message], node: Node | None = None) -> Node:
        """The node of messages after those of `node`, by default from the beginning."""
        node = node or self.root
        for message in messages:
            node = node.child(self.key(message), message)
        return node
