"""Where things stand in a file: a path of keys as line and column, and an offset into a query likewise."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.core.lint.findings import Finding, Remark
from watcher.core.yamltree import Listing, Node, Scalar, Table, Tree

Path = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file, right or wrong."""

    file: str
    tree: Tree
    root: Table

    def node(self, path: Path) -> tuple[Node, Scalar | None] | None:
        """What stands at a path, and its key; None when nothing does."""
        node: Node = self.root
        key: Scalar | None = None
        for step in path:
            if isinstance(node, Table) and step in node.entries:
                key, node = node.entries[str(step)]
            elif isinstance(node, Listing) and isinstance(step, int) and step < len(node.items):
                key, node = None, node.items[step]
            else:
                return None
        return node, key

    def items(self, path: Path) -> list[Node]:
        """The items of the list at a path; none when there is no list."""
        found = self.node(path)
        return found[0].items if found is not None and isinstance(found[0], Listing) else []

    def text(self, path: Path) -> str | None:
        """The text at a path, if one stands there."""
        found = self.node(path)
        if found is None or not isinstance(found[0], Scalar) or not isinstance(found[0].value, str):
            return None
        return found[0].text

    def place(self, path: Path, offset: int | None = None) -> tuple[int, int]:
        """Line and column of a path, or of the deepest part of it that is written; `offset` goes into its text."""
        found = self.node(path)
        while found is None:
            path = path[:-1]
            offset = None
            found = self.node(path)
        node, key = found
        if offset is not None and isinstance(node, Scalar):
            before = node.text[:offset]
            return self.tree.place(node, before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
        at = key if key is not None and not isinstance(node, Scalar) else node
        return at.line, at.column

    def finding(self, path: Path, remark: Remark, rule: str = "", *, in_text: bool = True) -> Finding:
        """A remark on what stands at a path."""
        line, column = self.place(path, remark.start if in_text else None)
        return Finding(self.file, line, column, remark.code, remark.problem, remark.cure, rule)


def documents(file: str, tree: Tree) -> list[Document]:
    """The documents of a file that are mappings."""
    return [Document(file, tree, root) for root in tree.roots if isinstance(root, Table)]
