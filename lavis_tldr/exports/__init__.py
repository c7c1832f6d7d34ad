"""Ways out of a finished reduction, one writer a format: ledger rows in, files in the format out."""
