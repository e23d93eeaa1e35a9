"""Makes a narrow Nemotron 3 Nano 4B: `make_narrow.py nemotron4b_narrow --vocabulary 512`.

Options and random weights are as in make_full_size.py. The variant has all layers of the model and
every tensor in the same format, but few columns and tokens. So its plan has the same kernels with
little arithmetic, and the time of a step is their overhead. The file has some megabytes.
"""

from make_full_size import MODELS, main, nemotron4b

# Replaced sizes: hidden, feed-forward, queries, keys and values; of mixers the input projection,
# convolution channels, inner size, group size and heads. Rows of K-quants are still whole blocks.
NARROW = {
    3136: 96,
    12544: 256,
    5120: 256,
    1024: 128,
    17504: 1032,
    9728: 768,
    7680: 256,
    960: 32,
    96: 8,
}
KEYS = {
    "embedding_length": 96,
    "attention.head_count": 2,
    "ssm.state_size": 32,
    "ssm.inner_size": 256,
    "ssm.time_step_rank": 8,
}


def narrow(chosen, vocabulary):
    architecture, tensors, keys = nemotron4b(chosen, vocabulary)
    for name, (shape, kind, draw) in tensors.items():
        tensors[name] = (tuple(NARROW.get(size, size) for size in shape), kind, draw)
    keys["feed_forward_length"] = [NARROW.get(size, size) for size in keys["feed_forward_length"]]
    keys["attention.head_count_kv"] = [min(count, 1) for count in keys["attention.head_count_kv"]]
    return architecture, tensors, keys | KEYS


if __name__ == "__main__":
    MODELS["nemotron4b_narrow"] = (narrow, *MODELS["nemotron4b"][1:])
    main()
