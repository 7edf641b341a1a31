"""The forward Laplacian of the jax package folx on a tanh network given in a file; run by a Python that has jax.

python -m studies.calculus.folx_laplacian NETWORK.npz ROUNDS      weights w0, b0, w1, ... and points x

Prints as JSON the Laplacian and the seconds of each round after compilation. Exit status 3 if jax or folx is missing.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

try:
    import folx
    import jax
    import jax.numpy as jnp
except ImportError as missing:
    sys.stderr.write(f"{missing}\n")
    sys.exit(3)


def main() -> None:
    stored = np.load(sys.argv[1])
    layers = [(jnp.asarray(stored[f"w{i}"]), jnp.asarray(stored[f"b{i}"])) for i in range(len(stored) // 2)]
    x = jnp.asarray(stored["x"])

    def network(sample: jax.Array) -> jax.Array:
        for w, b in layers[:-1]:
            sample = jnp.tanh(w @ sample + b)
        return layers[-1][0] @ sample + layers[-1][1]

    both = jax.jit(jax.vmap(folx.forward_laplacian(network)))
    start = time.perf_counter()
    found = jax.block_until_ready(both(x).laplacian)
    compiling = time.perf_counter() - start
    seconds = []
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        jax.block_until_ready(both(x).laplacian)
        seconds.append(time.perf_counter() - start)
    answer = {"laplacian": np.asarray(found).tolist(), "seconds": seconds, "compilation": compiling}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
