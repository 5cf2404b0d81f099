#!/usr/bin/env python3
"""Runs at every boot of the machine, as root: the checks of that boot, in their order."""

import os
import pathlib
import subprocess
import sys
import time
import traceback

sys.path.insert(0, "/srv/inside")

import checks  # noqa: E402
from machine import say  # noqa: E402

COUNT = pathlib.Path("/srv/boots")


def main():
    boot = int(COUNT.read_text()) + 1 if COUNT.exists() else 1
    COUNT.write_text(str(boot))
    os.sync()
    only = pathlib.Path("/srv/inside/only")
    only = only.read_text() if only.exists() else ""
    say(f"boot {boot}")
    words = only.split(",")
    wanted = [check for check in checks.CHECKS if check.always or any(word in check.__name__ for word in words)]
    for check in (check for check in wanted if check.boot == boot):
        began = time.monotonic()
        try:
            check()
        except Exception as error:
            text = traceback.format_exc() if not isinstance(error, AssertionError) else ""
            if isinstance(error, subprocess.CalledProcessError):
                text += f"\n{error.stdout}\n{error.stderr}"
            frame = traceback.extract_tb(error.__traceback__)[-1]
            say(f"not-ok {check.__name__}: {error} (line {frame.lineno}: {frame.line})")
            for line in text.splitlines():
                say(f"    {line}")
        else:
            say(f"ok {check.__name__} {time.monotonic() - began:.1f}")
    if boot >= max(check.boot for check in wanted):
        say("done")
    else:
        checks.off(boot)


if __name__ == "__main__":
    main()
