"""What each address does; who may and how it is said stands beside it in `gateway.operations`."""
