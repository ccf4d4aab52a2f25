"""The matching core: accounts, order books, matching and limits. The same inputs give the same bytes."""
