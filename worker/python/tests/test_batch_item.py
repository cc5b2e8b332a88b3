"""Run by tests/tests/examples.rs, and by hand: python3 -m unittest discover worker/python/tests"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]


class BatchItem(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.checkpoint = self.folder / "checkpoint"

    def program(self, code, fds=(), **variables):
        """A program of its own, as the worker starts one."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BATCH_")}
        environment.update(PYTHONPATH=str(SOURCE), PYTHONDONTWRITEBYTECODE="1", **variables)
        text = f"import batch_item, os, signal, sys\n{code}"
        return subprocess.Popen(
            [sys.executable, "-c", text], env=environment, cwd=self.folder, pass_fds=fds,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def run_program(self, code, **variables):
        variables.setdefault("BATCH_CHECKPOINT", str(self.checkpoint))
        program = self.program(code, **variables)
        out, errors = program.communicate(timeout=60)
        self.assertEqual(errors, "")
        return program.returncode, out

    def test_what_was_saved_last_is_loaded(self):
        self.assertEqual(self.run_program("print(batch_item.load())"), (0, "None\n"))
        self.run_program("batch_item.save(b'one'); batch_item.save(b'two')")
        self.assertEqual(self.run_program("print(batch_item.load().read_text())"), (0, "two\n"))
        self.assertEqual(os.listdir(self.checkpoint), ["saved-1"])

    def test_files_and_folders_are_copied_and_replace_each_other(self):
        source = self.folder / "state"
        (source / "deep").mkdir(parents=True)
        (source / "deep" / "weights").write_text("w")
        code = f"batch_item.save({str(source)!r})\nprint((batch_item.load() / 'deep' / 'weights').read_text())"
        self.assertEqual(self.run_program(code), (0, "w\n"))
        self.assertEqual(self.run_program(code), (0, "w\n"))
        code = f"batch_item.save({str(source / 'deep' / 'weights')!r})\nprint(batch_item.load().read_text())"
        self.assertEqual(self.run_program(code), (0, "w\n"))
        self.assertEqual(os.listdir(self.checkpoint), ["saved-2"])

    def test_an_unfinished_save_leaves_the_one_before(self):
        self.run_program("batch_item.save(b'whole')")
        code = "batch_item._sync = lambda path: os._exit(9)\nbatch_item.save(b'torn')"
        self.assertEqual(self.run_program(code)[0], 9)
        self.assertEqual(self.run_program("print(batch_item.load().read_text())"), (0, "whole\n"))
        unfinished = [name for name in os.listdir(self.checkpoint) if name != "saved-0"]
        # The worker leaves these out of its snapshots.
        self.assertTrue(all(name.startswith("tmp_") for name in unfinished), unfinished)

    def test_sigterm_and_the_notice_preempt(self):
        code = "print(batch_item.preempted())\nos.kill(os.getpid(), signal.SIGTERM)\nprint(batch_item.preempted())\nbatch_item.leave()"
        self.assertEqual(self.run_program(code), (85, "False\nTrue\n"))
        notice = self.folder / "notice"
        code = f"print(batch_item.preempted())\nopen({str(notice)!r}, 'w')\nprint(batch_item.preempted())"
        self.assertEqual(self.run_program(code, BATCH_NOTICE=str(notice)), (0, "False\nTrue\n"))

    def test_a_handler_of_the_programs_own_is_kept(self):
        code = (
            "signal.signal(signal.SIGTERM, lambda *_: print('mine'))\nbatch_item.load()\n"
            "os.kill(os.getpid(), signal.SIGTERM)\nprint(batch_item.preempted())"
        )
        self.assertEqual(self.run_program(code), (0, "mine\nFalse\n"))

    def test_progress_and_metrics_are_lines_of_json(self):
        read, write = os.pipe()
        code = "batch_item.progress(0.5)\nbatch_item.progress(3)\nbatch_item.report_metrics({'auc': 0.9}, loss=1)"
        program = self.program(code, (write,), BATCH_METRICS_FD=str(write))
        os.close(write)
        program.communicate(timeout=60)
        with open(read) as lines:
            said = [json.loads(line) for line in lines]
        self.assertEqual(said, [{"progress": 0.5}, {"progress": 1.0}, {"metrics": {"auc": 0.9, "loss": 1}}])

    def test_outside_of_a_batch_everything_works(self):
        code = "batch_item.progress(0.1); batch_item.report_metrics(a=1); batch_item.save(b'x'); print(batch_item.preempted())"
        program = self.program(code)
        self.assertEqual(program.communicate(timeout=60), ("False\n", ""))
        self.assertEqual((self.checkpoint / "saved-0").read_bytes(), b"x")
        program = self.program("batch_item.progress(0.1)", BATCH_METRICS_FD="77")
        self.assertEqual(program.communicate(timeout=60), ("", ""))


if __name__ == "__main__":
    unittest.main()
