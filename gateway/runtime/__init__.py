"""Clock, randomness, child processes: what every part takes from outside."""
