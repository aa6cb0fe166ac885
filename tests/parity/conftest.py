"""Nothing here is collected: these files run in environments of their own, by `make parity`."""

collect_ignore_glob = ["*.py"]
