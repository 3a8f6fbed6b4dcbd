"""A decision as one HTML page for people: no script, nothing fetched, every text escaped. Pure."""
