"""Pack the shards of `burnish write` as the next part of the text that ships: `python bench/written_part.py FOLDER`.

Writes the part into the sources and prints the checksum to add to `CHECKSUMS` in src/burnish/data/written.py.
"""

import argparse
import json
from pathlib import Path

import burnish
from burnish.data.written import CHECKSUMS, FACTS, FOLDER, TEXTS, pack
from burnish.recipes.writing.text import part
from burnish.run import sha256, write_atomically


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    texts, noted = part(parser.parse_args().folder)
    assets, number = Path(burnish.__file__).parent / "assets" / FOLDER, len(CHECKSUMS)
    path = assets / TEXTS.format(number)
    write_atomically(path, pack(texts))
    checksum = sha256(path)
    write_atomically(assets / FACTS.format(number), json.dumps({"sha256": checksum, **noted}, indent=2) + "\n")
    print(f"{path}: {len(texts):,} texts, {noted['words']['kept']:,} words, SHA-256 {checksum}")


if __name__ == "__main__":
    main()
