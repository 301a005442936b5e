"""Messages: sending one or many, reading them, and why they went as they did."""
