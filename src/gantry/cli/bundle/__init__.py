"""What the commands of gnt-hook and of gnt-os that distribute bundles share."""
