"""A model behind the safety shell on a local address, for OpenAI's clients and for the web page."""
