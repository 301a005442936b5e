"""The load generator behind `tandem bench`: sends at a given rate, and tells what came of them."""
