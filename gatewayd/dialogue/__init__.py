"""The dialogue of one attempt: a pure table of states. It waits for nothing and talks to nothing.

`vocabulary` names what is said, `events` what happens, `effects` what is to be done, `table` what follows from what,
`machine` looks it up, `policy` judges a new password. The shell around it is `gatewayd.session`.
"""
