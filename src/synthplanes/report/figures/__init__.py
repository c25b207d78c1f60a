"""Draw the report's pictures: pure functions from numbers to PNG files whose bytes are the same every time."""
