"""asyncio around the protocol kernel: transport, session, login, pool, idle, backoff."""
