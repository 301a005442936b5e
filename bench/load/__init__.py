"""The table of `make bench`: the gateway, its floor and Kannel, under the same load in turn."""
