"""One folder per vendor: structs in `wire`, operations as data in `calls`, the backend in `provider`."""
