"""How stages run: their declaration, the driver that walks items through them, and the executors."""
