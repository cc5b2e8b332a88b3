#!/usr/bin/env bash
# A numpy generator whose state was restored hands out the same child streams a second time.
#
# Generator.spawn counts its children in the SeedSequence, and bit_generator.state, which checkpoints as JSON keep,
# holds neither. After a restart with the same seed and the saved state the next worker or epoch draws the numbers of
# the first one; restored into a generator without a seed, children differ at every restart, although the
# generator itself goes on exactly. A pickle keeps the count.
#
# Seen on 2026-12-01 with numpy 2.4.6, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import json, pickle
import numpy as np
def draw(generator):
    return int(generator.integers(10**9))
def restored(seed=None):
    generator = np.random.default_rng(seed)
    generator.bit_generator.state = json.loads(saved)
    return generator
original = np.random.default_rng(5)
first = draw(original.spawn(1)[0])
saved, pickled = json.dumps(original.bit_generator.state), pickle.dumps(original)
second = draw(original.spawn(1)[0])
print("first and second child differ", first != second)
print("with the state, the next child is the first again", draw(restored(5).spawn(1)[0]) == first)
print("without a seed, two restarts agree on it", draw(restored().spawn(1)[0]) == draw(restored().spawn(1)[0]))
print("and on the generator's own numbers", draw(restored()) == draw(restored()) == draw(pickle.loads(pickled)))
print("with a pickle, the next child is the second", draw(pickle.loads(pickled).spawn(1)[0]) == second)
PYTHON
diff seen - <<'EXPECTED'
first and second child differ True
with the state, the next child is the first again True
without a seed, two restarts agree on it False
and on the generator's own numbers True
with a pickle, the next child is the second True
EXPECTED
echo "as seen before"
