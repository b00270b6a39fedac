"""Keep the figures of the benchmarks in docs/, as small as what reads them allows.

    pytest --benchmark-only --benchmark-json FILE.json
    python docs/keep_figures.py FILE.json  # writes docs/two_cores.json and its picture

A row of the file is a line. pytest-benchmark's own statistics are left out, the seconds of a call:
the README, its picture and the report read ``extra_info``, the rates that come from them.
"""

import argparse
import json
from io import BytesIO
from pathlib import Path

from PIL import Image

from blitz.harness import benchmarks
from blitz.measuring import picture, throughput

DOCS = Path(__file__).parent
COLORS = 16
"""Of the picture: white, black, the grid's grey, the hue of a line, and the edges between them."""


def main() -> None:
    """Write docs/two_cores.json and docs/two_cores.png."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="what `pytest --benchmark-json FILE` wrote")
    given = json.loads(parser.parse_args().file.read_text(encoding="utf-8"))
    kept = {
        "datetime": given["datetime"],
        "machine_info": {"blitz": given["machine_info"]["blitz"]},
        "benchmarks": [
            {"name": row["name"], "extra_info": row["extra_info"]} for row in given["benchmarks"]
        ],
    }
    file = DOCS / "two_cores.json"
    file.write_text(benchmarks.as_rows(kept), encoding="utf-8")
    drawn = BytesIO()
    # A README shows pictures in some 900 pixels; this one has 885.
    picture.throughput_over_width([throughput.read(file)]).savefig(drawn, format="png", dpi=72)
    few = Image.open(drawn).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    few.save(file.with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
