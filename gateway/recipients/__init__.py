"""What is known of a recipient: blocks and sticky mappings."""
