"""Published test sets, read from files that the user supplies; nothing is fetched."""
