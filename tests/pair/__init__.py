"""Two gateways on one database, in a network of their own, and what can come between them.

`PYTHONPATH=tests python -m pair` plays every row and prints what came of it, with its times.
"""
