"""What there is to say of an operation that has hooks: the types of the table's entries.

The entries themselves are in ``gantry.hooks.table``.
"""

from __future__ import annotations

import enum

import msgspec

from gantry.hooks.subject import SubjectKind


class Phase(enum.StrEnum):
    """Before, after, or after it did not succeed; the value is the directory's suffix, bare."""

    PRE = "pre"
    POST = "post"
    FAIL = "fail"


class Where(enum.StrEnum):
    """Sets of nodes. Targets are ``Subject.extra_nodes``; a node named twice counts once."""

    NOWHERE = "none"
    MASTER = "the master"
    INSTANCE = "the master, the instance's primary and secondary nodes"
    INSTANCE_AND_TARGET = "the master, the instance's primary and secondary nodes, the target"
    PRIMARY_AND_TARGET = "the master, the instance's primary node, the target"
    SECONDARIES_AND_TARGET = "the master, the instance's secondary nodes, the target"
    TARGET = "the target"
    ALL = "all nodes"
    OTHERS = "all nodes but the one that the operation is about"
    OTHERS_AND_NODE = "all nodes and the one that the operation is about"
    MASTER_AND_NODE = "the master and the node that the operation is about"
    MASTER_AND_MEMBERS = "the master and the nodes of the group"
    MEMBERS = "the nodes of the group"


class Seed(msgspec.Struct, frozen=True):
    """An operation in version 1. ``prefix`` where the directory is called otherwise than in 2."""

    op_id: str
    pre: Where
    post: Where
    prefix: str = ""


class Row(msgspec.Struct, frozen=True):
    """An operation in version 2, and in ``seed`` what version 1 says of it.

    ``code`` is its name in version 2, where that is not our own. ``own`` are the variables of
    ``Subject.values``; those in ``flags`` are absent in version 1 unless they are True.
    ``node_variables`` are those of NODE_NAME, NODE_PIP and NODE_SIP that are sent; ``target``:
    whether OP_TARGET is; ``tags``: whether CLUSTER_TAGS and NODE_TAGS_… are. ``leaving``: in
    version 2 the post scripts also run on the node that is removed. ``grouped``: version 2 runs
    once a group, on its nodes. ``only_seed``: version 2 does not know it, and what is said
    here of version 2 is version 1's.
    """

    opcode: str
    kind: SubjectKind
    prefix: str
    pre: Where
    post: Where
    seed: Seed | None = None
    code: str = ""
    own: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    node_variables: tuple[str, ...] = ()
    target: bool = True
    tags: bool = False
    leaving: bool = False
    grouped: bool = False
    only_seed: bool = False

    @property
    def op_code(self) -> str:
        """``GANETI_OP_CODE``: the name in version 2."""
        return self.code or self.opcode

    @property
    def op_id(self) -> str:
        """``GANETI_OP_ID``: the name in version 1, or in version 2 where 1 does not know it."""
        return self.seed.op_id if self.seed is not None else self.op_code

    def directory(self, version: int) -> str:
        """The directory's prefix in a version."""
        if version == 1 and self.seed is not None and self.seed.prefix:
            return self.seed.prefix
        return self.prefix

    def where(self, phase: Phase, version: int) -> Where:
        """On which nodes, in a version.

        What an operation that failed is told to: all that heard of it before, or would have
        afterwards. The latter are never fewer. Where nobody is asked before, nobody is told.
        """
        said = self.seed if version == 1 and self.seed is not None else self
        if phase is Phase.FAIL and said.pre is Where.NOWHERE:
            return Where.NOWHERE
        return said.pre if phase is Phase.PRE else said.post
