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
        key: The message's key there.
        heads: Threads that have come to here, each with the exact node where it is; None while there was none.
    """

    __slots__ = ("_first", "_others", "heads", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.heads: dict[Any, Node] | None = None
        self._first: Rendered | None = None
        self._others: dict[Key, Rendered] | None = None

    def child(self, key: Key) -> Rendered:
        """The node of a message after this one."""
        first = self._first
        if first is None:
            self._first = first = Rendered(key)
        if first.key == key:
            return first
        if self._others is None:
            self._others = {}
        found = self._others.get(key)
        if found is None:
            found = self._others[key] = Rendered(key)
        return found

    def begin(self, thread: Any, node: Node) -> None:
        """Note that a thread has come to here."""
        if self.heads is None:
            self.heads = {}
        self.heads[thread] = node

    def leave(self, thread: Any) -> None:
        """Note that a thread has gone on from here."""
        if self.heads is not None:
            self.heads.pop(thread, None)


class Node:
    """A message after others. There is one for every message that was sent anew, so it is small: most have one child.

    Attributes:
        parent: The node before; None for the root.
        key: The message's key.
        message: The message, as it was read first.
        depth: Messages up to here, this one included.
        rendered: The node of the other tree.
        texts: Hash of the roles and texts up to here.
        asked: Threads that a call was made in with exactly this input, as `threads` keeps them.
    """

    __slots__ = ("_first", "_others", "asked", "depth", "key", "message", "parent", "rendered", "texts")

    def __init__(self, parent: Node | None, key: Key, message: Message | None, rendered: Rendered) -> None:
        self.parent = parent
        self.key = key
        self.message = message
        self.rendered = rendered
        self.depth: int = parent.depth + 1 if parent else 0
        self.texts: int = hash((parent.texts, *key[:2])) if parent else 0
        self.asked: tuple[Any, ...] = ()
        self._first: Node | None = None
        self._others: dict[Key, Node] | None = None

    def child(self, key: Key, message: Message) -> Node:
        """The node of a message after this one."""
        first = self._first
        if first is None:
            self._first = made = self._made(key, message)
            return made
        if first.key == key:
            return first
        if self._others is None:
            self._others = {}
        found = self._others.get(key)
        if found is None:
            found = self._others[key] = self._made(key, message)
        return found

    def _made(self, key: Key, message: Message) -> Node:
        return Node(self, key, message, self.rendered.child(AGENT if key[0] == "assistant" else key))

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
        self.root = Node(None, (), None, Rendered(()))
        self._known: dict[str, Key] = {}
        self._keys: dict[Key, Key] = {}
        self._said: dict[Key, Message] = {}

    def key(self, message: Message) -> Key:
        """The message's key; of messages that have the same id, the first one's."""
        key = message.key
        if key is None:
            key = key_of(message.chat)
            key = self._keys.setdefault(key, key)  # a text that comes again is held once
            if message.id is not None:
                key = self._known.setdefault(message.id, key)
            message.key = key
        return key

    def add(self, messages: Iterable[Message], node: Node | None = None) -> Node:
        """The node of messages after those of `node`, by default from the beginning."""
        node = node or self.root
        for message in messages:
            key = self.key(message)
            node = node.child(key, message)
            if node.message is message:
                node.message = self._held(key, message)
        return node

    def _held(self, key: Key, message: Message) -> Message:
        """The message, or the first one of its key where that is the same to the letter: windows that slide hold it once."""
        known = self._said.setdefault(key, message)
        if known is message or known != message or repr(known.chat) != repr(message.chat):
            return message
        return known
