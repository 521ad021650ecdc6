"""HTTP for any vendor: calls as data, limits, retries, credentials, and the client that does the I/O."""
