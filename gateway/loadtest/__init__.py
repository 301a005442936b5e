"""The load generator behind `tandem bench`, and the ledgers it must agree with."""
