"""Where background calls run: spare threads for blocking ones, one event loop for the others. Both bounded in time."""
