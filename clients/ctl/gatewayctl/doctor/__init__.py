"""`gatewayctl doctor`: what an operator would look at, looked at in one go.

It changes nothing, needs no daemon, and never connects to a card. What it may not see, it says.
"""
