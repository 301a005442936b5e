"""What the API says of itself: OpenAPI, and the table of its coverage."""
