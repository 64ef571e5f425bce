"""The application's calls through proxies, small pools and transports of its own, bare and with a second model asked."""
