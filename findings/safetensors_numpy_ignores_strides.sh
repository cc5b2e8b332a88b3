#!/usr/bin/env bash
# safetensors saves a transposed or sliced numpy array as other numbers in the right shape.
#
# safetensors.numpy hands over the array's address and length and ignores its strides. `weights.T` comes back with
# its values in other places, and `weights[:, ::2]` with values that were not in the slice, and nothing says so. Its docstring
# asks for arrays that are contiguous, which nothing checks. np.savez keeps both.
#
# Seen on 2026-12-01 with safetensors 0.8.0, numpy 2.4.6, Python 3.11. Fails where the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import numpy as np
from safetensors.numpy import load_file, save_file
weights = np.arange(6.0).reshape(2, 3)
for name, array in {"transposed": weights.T, "sliced": weights[:, ::2]}.items():
    save_file({"w": array}, "model.safetensors")
    np.savez("model.npz", w=array)
    print(name, array.tolist(), "saved as", load_file("model.safetensors")["w"].tolist(), "by savez", bool((np.load("model.npz")["w"] == array).all()))
save_file({"w": np.ascontiguousarray(weights.T)}, "model.safetensors")
print("copied first", bool((load_file("model.safetensors")["w"] == weights.T).all()))
PYTHON
diff seen - <<'EXPECTED'
transposed [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] saved as [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]] by savez True
sliced [[0.0, 2.0], [3.0, 5.0]] saved as [[0.0, 1.0], [2.0, 3.0]] by savez True
copied first True
EXPECTED
echo "as seen before"
