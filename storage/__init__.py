"""Postgres: the only place with SQL.

One noun per file, its queries at the top. Nothing here knows SMPP or HTTP; what a
column's number means (a status, an encoding) is the gateway's business.
"""
