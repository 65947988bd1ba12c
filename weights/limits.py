"""What an input may cost at most: the one table of limits, which SECURITY.md repeats.

Input files are hostile. Whoever reads one checks the limit that applies before it allocates or loops, and
raises a typed error that names the limit. A limit lives here and nowhere else; `markdown()` gives the table
of SECURITY.md, and a test holds the two together.
"""

from __future__ import annotations

__all__ = ["Limit", "markdown", "table"]


class Limit(int):
    """A whole number that knows what it limits; used like any other number.

    Args:
        value: The largest value accepted.
        of: What is limited, as the table says it.
        unit: What is counted: bytes, layers, seconds, ...
    """

    of: str
    unit: str

    def __new__(cls, value: int, of: str, unit: str) -> Limit:
        limit = super().__new__(cls, value)
        limit.of, limit.unit = of, unit
        return limit

    def __str__(self) -> str:
        """The number with its unit, for a message: `8 MiB`, `20,000 layers`."""
        if self.unit == "bytes":
            for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
                if self >= 1 << power and int(self) % (1 << power) == 0:
                    return f"{int(self) >> power:,} {name}"
        return f"{int(self):,} {self.unit}"


PROTOTXT_BYTES = Limit(16 << 20, "a prototxt", "bytes")
NESTING = Limit(32, "messages, groups or graphs inside one another", "levels")
LAYERS = Limit(20_000, "layers of a net", "layers")
AXES = Limit(32, "axes of an array (Caffe's own limit)", "axes")
ELEMENTS = Limit(2**31 - 1, "numbers in one array (Caffe's own limit)", "numbers")
NUMBER_TEXT = Limit(40, "digits and signs of one number in text", "characters")

WEIGHTS_BYTES = Limit(64 << 30, "a file of weights", "bytes")
MESSAGE_BYTES = Limit(2**31 - 1, "one protobuf message (protobuf's own limit)", "bytes")
MESSAGE_FIELDS = Limit(1_000_000, "fields of a binary caffemodel", "fields")
MEAN_BYTES = Limit(64 << 20, "a file of means", "bytes")
PARAMS_ARRAYS = Limit(100_000, "arrays in an MXNet file", "arrays")
NAME_BYTES = Limit(4096, "one name in a file of weights", "bytes")
HDF5_OBJECTS = Limit(100_000, "groups and datasets of an HDF5 file", "objects")
UNPACKED = Limit(
    64,
    "the arrays of a compressed HDF5 file, or of an .npz, against its size (64 MiB are always allowed)",
    "times",
)
ALWAYS_UNPACKED = Limit(64 << 20, "compressed arrays, whatever their file's size", "bytes")
HDF5_CHUNK = Limit(64 << 20, "one chunk of an HDF5 dataset", "bytes")
HDF5_MEMORY = Limit(512 << 20, "memory of the process that reads an HDF5 file", "bytes")
HDF5_SECONDS = Limit(8, "time to walk the structure of an HDF5 file without an answer", "seconds")

RANDOM_NUMBERS = Limit(1 << 30, "weights made up for a net (`--random-weights`)", "numbers")

MANIFEST_BYTES = Limit(8 << 20, "the manifest of a bundle", "bytes")
GRAPH_BYTES = Limit(256 << 20, "the ONNX graph of a stage, without its weights", "bytes")
STAGES = Limit(256, "stages of a bundle", "stages")
GRAPH_NODES = Limit(200_000, "operators in the graph of a stage", "operators")
MADE_ELEMENTS = Limit(1 << 26, "numbers that the graphs of a bundle make out of constants", "numbers")
ARRAY_ELEMENTS = Limit(1 << 26, "numbers of one array in a graph, whatever the frame's size", "numbers")
ARRAY_GROWTH = Limit(1024, "the same against all inputs of the graph, where that is more", "times")

SCHEDULE_TEXT = Limit(4096, "a schedule as text", "characters")
SCHEDULE_NESTING = Limit(8, "schedules inside one another", "levels")
MESSAGE_TEXT = Limit(2000, "an error message", "characters")
RUN_STATE_BYTES = Limit(1 << 20, "the state of a run (`run.json`)", "bytes")
LOG_LINE = Limit(1 << 20, "one line of a step log", "bytes")
FRAME_PIXELS = Limit(85 << 20, "one frame (Pillow's own limit)", "pixels")


def table() -> tuple[Limit, ...]:
    """Every limit, in the order in which they are written here."""
    return tuple(value for value in globals().values() if isinstance(value, Limit))


def markdown() -> str:
    """The table as SECURITY.md has it."""
    rows = [f"| {limit.of} | {limit} |" for limit in table()]
    return "\n".join(["| what | at most |", "|---|---|", *rows]) + "\n"
