"""Long, resumable runs that gather evidence and write it as dated JSON to docs/evidence."""
