"""What only the operator sees and sets: carriers, facts, alerts."""
