"""What can be listed: fields, filters, rows. Pure but for the time that a filter may take."""
