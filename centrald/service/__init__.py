"""The calls: each loads values in one transaction, asks the rules, and saves what they say."""
