"""A world to try Tandem in: database, carrier simulator, gateway, and a first account."""
