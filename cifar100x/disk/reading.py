"""Reading what others may have written."""

from typing import IO, Any

import yaml

MOST_NODES = 100_000


def load_yaml(file: IO[bytes]) -> Any:
    """Plain values from YAML; a few hundred bytes of aliases, each of which repeats others, may stand for any number.

    Raises:
        yaml.YAMLError: it is none, or holds too much.
    """
    loader = yaml.SafeLoader(file)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _num_nodes(node, {}) > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases written out."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES  # of one that holds itself
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        known[id(node)] = 1 + sum(_num_nodes(part, known) for part in parts)
    return known[id(node)]
