"""Long runs that gather evidence: resumable, with dated JSON under docs/evidence."""
