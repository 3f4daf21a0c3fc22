"""The shell around the dialogue: the only place that knows both the core and the world.

`session` runs one attempt: it feeds events to the dialogue and publishes views. `performer` carries out the
dialogue's effects and holds the attempt's secrets. `manager` admits attempts, one at a time, and watches the
reader. `readiness` says whether an attempt could begin. `outbox` delivers reports until the centre has them.
"""
