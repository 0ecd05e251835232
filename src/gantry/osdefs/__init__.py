"""OS definitions on a node: finding, checking, environments, running their scripts."""
