"""When each stage runs: clocks, schedules, and their text form."""
