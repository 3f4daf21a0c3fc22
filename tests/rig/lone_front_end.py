"""A front-end as a program of its own, to be frozen and killed: begins one attempt and tells each view's state.

One JSON line a view: {"event": "view", "state": "STATE_…", "attempt_id": "…"}; the first one has the event "begun".
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from jpkireset.gateway.v1.reset_service_pb2 import State

from tests.rig.front_end import WAITING_FOR_CARD, FrontEnd


async def main(socket: Path) -> None:
    """Wait for the card, and then for ever."""
    async with FrontEnd(socket) as front:
        attempt = await front.attempt()
        view = await attempt.until(WAITING_FOR_CARD)
        print(
            json.dumps({"event": "begun", "state": State.Name(view.state), "attempt_id": view.attempt_id}), flush=True
        )
        while True:
            view = await attempt.until_view(lambda _: True, seconds=3600)
            print(json.dumps({"event": "view", "state": State.Name(view.state)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
