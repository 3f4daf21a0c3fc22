"""The central reservation service as the session needs it."""
