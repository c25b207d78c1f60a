"""Report the progress of long work on stderr: the amount done and the time left."""

import sys
import time


class Progress:
    """Print `label: 300 of 1200 images, about 2 min left`, at most every `every_s` seconds."""

    def __init__(self, label: str, total: int, unit: str, every_s: float = 10.0):
        self.label, self.total, self.unit, self.every_s = label, total, unit, every_s
        self.start = self.last = time.monotonic()
        self.first_done: int | None = None

    def __call__(self, done: int, note: str = "") -> None:
        """Report that `done` of the total are done; the last report is always printed."""
        now = time.monotonic()
        if self.first_done is None:
            self.first_done = done
        if done < self.total and now - self.last < self.every_s:
            return
        self.last = now
        made = done - self.first_done
        left_s = (now - self.start) / made * (self.total - done) if made else 0.0
        left = f", about {left_s / 60:.1f} min left" if made and done < self.total else ""
        took = f", {(now - self.start) / 60:.1f} min" if done >= self.total else ""
        print(f"{self.label}: {done} of {self.total} {self.unit}{left}{took}{note and ', ' + note}",
              file=sys.stderr, flush=True)
