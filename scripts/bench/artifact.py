"""Makes an artifact like those of a large npm tree: text-like files, 79 of 100 below 4 KiB, and some of 9 MiB. Another
version differs in two files of each hundred.

    artifact.py DIRECTORY VERSION FILES
"""

import os
import random
import string
import sys

WORDS = ["".join(random.Random(n).choices(string.ascii_lowercase, k=2 + n % 9)) for n in range(4000)]


def text(seed, size):
    dice, out, have = random.Random(seed), [], 0
    while have < size:
        line = " ".join(dice.choices(WORDS, k=10)) + ";\n"
        out.append(line)
        have += len(line)
    return "".join(out)[:size]


def size_of(n):
    dice = random.Random(n)
    if n % 8000 == 5:
        return 9 << 20
    return int(4096 * dice.random() ** 1.5) if dice.random() < 0.79 else int(4096 + 60000 * dice.random() ** 3)


def make(top, version, count):
    for n in range(count):
        at = os.path.join(top, f"p{n // 40}")
        os.makedirs(at, exist_ok=True)
        with open(os.path.join(at, f"{n}.js"), "w") as file:
            file.write(text(f"{n} {version if n % 50 == 7 else 1}", size_of(n)))


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
