"""The database: tables, the one place that knows SQLite, and transactions that load and save the rules' values."""
