"""What a program that runs as an item of a batch wants to say and know; see docs/own-code.md.

One file without dependencies: install it, or copy it beside your script. Outside of a batch everything works as well:
checkpoints go to the folder `checkpoint`, and nothing is preempted.

    import batch_item

    state = pickle.loads(p.read_bytes()) if (p := batch_item.load()) else start()
    for epoch in range(state.epoch, epochs):
        train(state)
        batch_item.progress((epoch + 1) / epochs)
        batch_item.report_metrics(epoch=epoch, loss=state.loss)
        if batch_item.preempted():
            batch_item.save(pickle.dumps(state))
            batch_item.leave()
"""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

__all__ = ["RUN_AGAIN", "leave", "load", "preempted", "progress", "report_metrics", "save"]

#: The exit code that means: saved to the checkpoint folder, run me again.
RUN_AGAIN = 85
#: What `save` publishes inside the checkpoint folder is named with this and a number that grows.
_NAME = "saved-"
#: Unfinished saves: the worker leaves such names out, and so does `load`.
_UNFINISHED = "tmp_"

_sigterm = threading.Event()
_metrics = None


def _folder():
    return Path(os.environ.get("BATCH_CHECKPOINT", "checkpoint"))


def _saved():
    """What was published, oldest first, with its number."""
    numbers = [(path.name[len(_NAME):], path) for path in _folder().glob(_NAME + "*")]
    return sorted((int(number), path) for number, path in numbers if number.isdecimal())


def load():
    """The path of what `save` saved last for this item, on this machine or another; None where there is nothing."""
    _listen()
    saved = _saved()
    return saved[-1][1] if saved else None


def save(what):
    """Saves a checkpoint: bytes, or the path of a file or a folder, which is copied.

    It is published whole by a rename, and only then the one before goes: a machine that goes in the middle leaves that.
    Returns the path under which `load` finds it.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    before = _saved()
    target = folder / f"{_NAME}{before[-1][0] + 1 if before else 0}"
    new = folder / f"{_UNFINISHED}{_NAME}{os.getpid()}"
    _remove(new)
    if isinstance(what, (bytes, bytearray, memoryview)):
        new.write_bytes(what)
    elif Path(what).is_dir():
        shutil.copytree(what, new, symlinks=True)
    else:
        shutil.copyfile(what, new)
    for path in [new, *new.rglob("*")] if new.is_dir() else [new]:
        if path.is_file() and not path.is_symlink():
            _sync(path)
    new.rename(target)
    for _, path in before:
        _remove(path)
    return target


def preempted():
    """Whether the machine is about to go: save, and leave within `BATCH_GRACE_SECONDS`.

    The first call of this or of `load` makes SIGTERM set this instead of ending the program, unless the program has a
    handler of its own.
    """
    _listen()
    notice = os.environ.get("BATCH_NOTICE")
    return _sigterm.is_set() or (notice is not None and os.path.exists(notice))


def leave():
    """Ends the program with the code that means: saved, run me again."""
    sys.exit(RUN_AGAIN)


def progress(share):
    """Reports how far the item is, from 0 to 1."""
    _say({"progress": min(1.0, max(0.0, float(share)))})


def report_metrics(metrics=None, **more):
    """Reports numbers by name: `report_metrics(loss=0.3)`. They are shown and logged, and are no part of the result."""
    _say({"metrics": {**(metrics or {}), **more}})


def _say(said):
    global _metrics
    if _metrics is None:
        number = os.environ.get("BATCH_METRICS_FD")
        try:
            _metrics = open(int(number), "w", encoding="utf-8", closefd=False) if number else False
        except (OSError, ValueError):
            _metrics = False
    if _metrics:
        try:
            # Values of other libraries (numpy's) are numbers to them.
            _metrics.write(json.dumps(said, default=float) + "\n")
            _metrics.flush()
        except OSError:
            # Nobody reads: the program works on.
            _metrics = False


def _listen():
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: _sigterm.set())


def _sync(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
