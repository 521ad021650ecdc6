"""One module for each client: every public coroutine in it is a task of that name."""
