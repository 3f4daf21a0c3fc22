"""The service's rules: pure functions over frozen values; time, identity and cryptographic verdicts are inputs."""
