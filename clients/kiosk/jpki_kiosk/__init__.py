"""The kiosk's touch screen: a local web server that draws the daemon's view, and decides nothing.

`screens` says which screen is shown in which situation, `places` what comes before 「同意する」; both are pure. Around
them is one shell, `kiosk`: it owns the visit, its `attempt` and the limits. `gateway` speaks to the daemon, `page`
knows which page may speak to us, `server` speaks HTTP, `render` and `texts` make the words. `static/js` is the page.
"""

__version__ = "0.1.0"
