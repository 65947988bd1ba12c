"""The protocols, tables and figures of the Clockwork paper."""
