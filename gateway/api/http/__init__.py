"""What every resource shares: credentials, forms, paging, errors, limits."""
