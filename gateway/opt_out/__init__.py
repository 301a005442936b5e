"""Which texts are keywords, whose they are, and what a block covers."""
