"""A private Prometheus: Debian's program, the project's configuration, and its data in a directory of its own."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.rig.process import ROOT, Process, RigError, wait_until

PROGRAM = Path("/usr/bin/prometheus")
SAMPLE = ROOT / "systemd/prometheus.yml"
ALERTS = ROOT / "systemd/alerts"
DASHBOARDS = sorted((ROOT / "systemd/dashboards").glob("*.json"))
LISTENING = re.compile(r'msg="Listening on" address=(\S+)')
INTERVAL = "_interval: 15s"
QUICK_INTERVAL = "_interval: 1s"
SECONDS = 10.0
PAUSE_SECONDS = 0.1


def promtool(*words: str | Path, stdin: str | None = None) -> str:
    """Run promtool, and return what it says. Raises AssertionError when it finds fault, or has anything to remark."""
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Series(NamedTuple):
    """One series of a query's result, at the time of the query."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """Scrapes a daemon and a centre each second, by `systemd/prometheus.yml`.

    Of that file the addresses, the place of the rules and the interval are replaced, and no other byte.
    """

    def __init__(self, directory: Path, *, gatewayd: str, centrald: str) -> None:
        """Take the addresses of their metrics, host:port."""
        directory.mkdir(parents=True)
        self._directory = directory
        self._process: Process | None = None
        self.address = ""
        self.config = directory / "prometheus.yml"
        replaced = {
            "127.0.0.1:9464": gatewayd,
            "127.0.0.1:9465": centrald,
            "/etc/prometheus/alerts/gatewayd.yml": str(ALERTS / "gatewayd.yml"),
            "/etc/prometheus/alerts/centrald.yml": str(ALERTS / "centrald.yml"),
        }
        text = SAMPLE.read_text(encoding="utf-8")
        for old, new in replaced.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        assert text.count(INTERVAL) == 2
        self.config.write_text(text.replace(INTERVAL, QUICK_INTERVAL), encoding="utf-8")

    def __enter__(self) -> Self:
        promtool("check", "config", self.config)
        self._process = Process(
            "prometheus",
            [
                PROGRAM,
                f"--config.file={self.config}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--log.level=info",
            ],
            log=self._directory / "prometheus.log",
        )
        try:
            self.address = wait_until(self._listening, SECONDS, "prometheus")
            wait_until(self._ready, SECONDS, "prometheus is ready")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; harmless when repeated."""
        if self._process is not None:
            process, self._process = self._process, None
            process.stop()

    def _listening(self) -> str | None:
        assert self._process is not None
        if not self._process.running:
            raise RigError(f"prometheus has ended:\n{self._process.output()}")
        found = LISTENING.search(self._process.output())
        return found[1] if found else None

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, path: str, /, **parameters: str) -> Any:
        """Return what its HTTP API has under a path. Raises urllib's HTTPError, with the reason, when it refuses."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression: str) -> list[Series]:
        """Return the series that an expression gives now."""
        data = self.ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]

    def until(self, expression: str, seconds: float = SECONDS) -> list[Series]:
        """Wait until an expression gives something. Raises RigError."""

        def asked() -> list[Series] | None:
            found = self.query(expression)
            if not found:
                time.sleep(PAUSE_SECONDS)  # it has news once a second, and work of its own
            return found or None

        return wait_until(asked, seconds, expression)

    def alerts(self) -> dict[str, str]:
        """Return the alerts that are not inactive, with their states: pending or firing."""
        return {one["labels"]["alertname"]: one["state"] for one in self.ask("alerts")["alerts"]}

    def rules(self) -> list[Mapping[str, Any]]:
        """Return every rule, with what became of its last evaluation."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[Mapping[str, Any]]:
        """Return what is scraped, and how it went the last time."""
        targets: list[Mapping[str, Any]] = self.ask("targets")["activeTargets"]
        return targets
