"""``gnt-backup list-fields``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import listing, table
from gantry.cli.backup.list import FIELDS
from gantry.client.errors import ApiError

EXAMPLES = """
gnt-backup list-fields
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which fields, and how."""
    listing.fields_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the fields that ``list`` knows."""
    unknown = set(arguments.names) - set(FIELDS)
    if unknown:
        raise ApiError(
            "unknown-field", f"exports have no field {', '.join(sorted(unknown))}", "see all"
        )
    columns = [
        {"name": name, "title": name.capitalize(), "kind": "text"}
        for name in ("name", "kind", "title", "doc")
    ]
    rows = [
        [name, kind, title, text]
        for name, (kind, title, text) in FIELDS.items()
        if not arguments.names or name in arguments.names
    ]
    if arguments.json:
        sys.stdout.write(table.objects(columns, rows))
    else:
        headers = not arguments.no_headers
        sys.stdout.write(table.show(columns, rows, headers=headers, separator=arguments.separator))
    return 0
