"""Makes tests/data/formats/*.bin: stored blocks and their values as dequantized by the package
gguf. Values of T4, a format of this project, and of Q1_0 and Q2_0, which gguf 0.19.0 does not
dequantize, and of grouped integers follow their definitions.

Usage: `make_format_golden.py`, with the packages of tests/requirements.txt. Rewrites the files
in place, with the same bytes each time. Layout of a file, little-endian: number of blocks (u32),
stored blocks, values (f32).
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, quants
from gguf import GGMLQuantizationType as Type

# Scales as half-precision bits: zeros, smallest and largest subnormal, smallest normal, ordinary
# ones, the largest, and negative ones.
HALVES = [
    0x0000,
    0x8000,
    0x0001,
    0x8001,
    0x03FF,
    0x0400,
    0x1234,
    0x2E66,
    0x3C00,
    0xBC00,
    0x7BFF,
    0xFBFF,
]
# Byte offsets of the half-precision numbers in a block; all other bytes are quants and small
# scales.
HALVES_AT = {
    Type.Q8_0: [0],
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.IQ4_NL: [0],
    Type.IQ4_XS: [0],
    Type.IQ2_XXS: [0],
    Type.IQ2_XS: [0],
    Type.IQ2_S: [0],
    Type.IQ3_XXS: [0],
    Type.IQ3_S: [0],
    Type.MXFP4: [],
    Type.NVFP4: [],
}
RANDOM_BLOCKS = 12


def put_half(blocks, row, at, bits):
    blocks[row, at : at + 2] = np.frombuffer(np.uint16(bits).tobytes(), np.uint8)


def quantized(kind, rng):
    size = GGML_QUANT_SIZES[kind][1]
    at = HALVES_AT[kind]
    quants_only = [byte for byte in range(size) if not any(h <= byte < h + 2 for h in at)]
    # Extreme scales over random quants, blocks of a single repeated byte, all byte values (which
    # are all pairs of nibbles) in turn, and random blocks.
    fills = [0x00, 0xFF, 0x0F, 0xF0, 0x80, 0x7F, 0x55, 0xAA]
    sweep = -(-256 // len(quants_only))
    count = len(HALVES) + len(fills) + sweep + RANDOM_BLOCKS
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for row in range(count):
        for place, byte in enumerate(at):
            ordinary = int(np.float16(rng.normal(0, 0.02)).view(np.uint16))
            put_half(blocks, row, byte, ordinary)
            if row < len(HALVES):
                put_half(blocks, row, byte, HALVES[(row + 5 * place) % len(HALVES)])
    for row, fill in enumerate(fills, len(HALVES)):
        blocks[row, quants_only] = fill
    for row in range(sweep):
        start = row * len(quants_only)
        blocks[len(HALVES) + len(fills) + row, quants_only] = (
            np.arange(start, start + len(quants_only)) % 256
        )
    if kind == Type.MXFP4:
        # Exponents from the subnormal ones to those whose products are finite, too.
        blocks = np.resize(blocks, (221, size))
        blocks[:, 0] = np.arange(221)
    if kind == Type.NVFP4:
        # Every scale.
        blocks = np.resize(blocks, (64, size))
        blocks[:, :4] = np.arange(256).reshape(64, 4)
    return blocks


def floats(kind, rng):
    width = {Type.F32: 4, Type.F16: 2, Type.BF16: 2}[kind]
    values = rng.integers(0, 256, (1024, width), dtype=np.uint8)
    if kind == Type.F32:
        bits = values.view(np.uint32)
        special = np.array(
            [0, 0x80000000, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF], np.uint32
        )
        bits[: len(special), 0] = special
        is_not_finite = (bits & 0x7F800000) == 0x7F800000
    else:
        bits = values.view(np.uint16)
        bits[: len(HALVES), 0] = HALVES
        mask = 0x7C00 if kind == Type.F16 else 0x7F80
        is_not_finite = (bits & mask) == mask
    # NaN and infinity are refused when a model is read.
    values[is_not_finite[:, 0]] = 0
    return values


def low_bits(bits, rng):
    """Returns blocks of Q1_0 or Q2_0 and their values, as dequantize_row_q1_0 and
    dequantize_row_q2_0 of ggml define them."""
    scales = np.array(HALVES + [0x2E66] * 20, np.uint16)
    blocks = rng.integers(0, 256, (len(scales), 18), dtype=np.uint8)
    blocks[:, :2] = scales.view(np.uint8).reshape(-1, 2)
    shifts = np.arange(0, 8, bits)
    quants = (blocks[:, 2:, None] >> shifts & (1 << bits) - 1).reshape(len(scales), -1)
    levels = np.array([-1, 1] if bits == 1 else [-1, 0, 1, 2], np.float32)
    return blocks, levels[quants] * scales.view(np.float16).astype(np.float32)[:, None]


def t4(rng):
    """Returns blocks with all bends, shifts and scales, random blocks, and the exact values."""
    heads = np.concatenate(
        [
            np.arange(256) | 0x9800,
            np.arange(256) << 8 | 0x83,
            rng.integers(0, 1 << 16, RANDOM_BLOCKS),
        ]
    )
    blocks = rng.integers(0, 256, (len(heads), 18), dtype=np.uint8)
    blocks[:, :2] = heads.astype("<u2").view(np.uint8).reshape(-1, 2)
    bend, shift, scale = (
        heads & 7,
        (heads >> 3 & 31) - 16,
        2.0 ** ((heads >> 11) - 24) * (1 + (heads >> 8 & 7) / 8),
    )
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    u = nibbles - 7.5
    return blocks, scale[:, None] * (u + bend[:, None] / 256 * u**3 + shift[:, None] / 4)


# Bits, group size and encoding of the tested formats of grouped integers.
INTEGERS = [
    (4, 32, "f16"),
    (4, 64, "bf16"),
    (4, 128, "f32"),
    (8, 32, "bf16"),
    (8, 64, "f32"),
    (8, 128, "f16"),
]


def encoded(numbers, encoding):
    """Returns bytes of numbers, and the numbers that they stand for; bf16 is an upper half."""
    if encoding == "bf16":
        halves = (numbers.astype("<f4").view("<u4") >> 16).astype("<u2")
        return halves.view(np.uint8), (halves.astype("<u4") << 16).view("<f4")
    stored = numbers.astype({"f16": "<f2", "f32": "<f4"}[encoding])
    return stored.view(np.uint8), stored.astype("<f4")


def grouped_integers(bits, group, encoding, rng):
    """Returns blocks of integers with extreme and random scales and all zero points, and their
    values."""
    # Zero points of 4 bits go to 16, for GPTQ; those of signed bytes are centered.
    zeros = np.arange(17) if bits == 4 else np.array([-128, -127, -1, 0, 1, 127, 128])
    extreme = [0.0, -0.0, 1e-7, -1e-7, 1.0, -1.0, 200.0, 65504.0]
    scales = np.concatenate([extreme, rng.normal(0, 0.02, 26)]).reshape(-1, 1)
    quants = rng.integers(0, 1 << bits, (len(scales), group))
    quants[0], quants[1] = 0, (1 << bits) - 1
    if bits == 8:
        quants -= 128
        packed = quants.astype(np.int8).view(np.uint8)
    else:
        units = quants.reshape(len(scales), -1, 2, 16)
        packed = (units[:, :, 0] | units[:, :, 1] << 4).astype(np.uint8).reshape(len(scales), -1)
    scale_bytes, scale_values = encoded(scales, encoding)
    zero_bytes, zero_values = encoded(np.resize(zeros, (len(scales), 1)).astype("<f4"), encoding)
    values = (quants.astype("<f4") - zero_values) * scale_values
    return np.concatenate([scale_bytes, zero_bytes, packed], axis=1), values


def put(folder, name, blocks, values):
    assert np.isfinite(values).all(), name
    (folder / f"{name}.bin").write_bytes(
        np.uint32(len(blocks)).tobytes() + blocks.tobytes() + values.astype("<f4").tobytes()
    )


def main():
    folder = Path(__file__).parent / "formats"
    folder.mkdir(exist_ok=True)
    for kind in [Type.F32, Type.F16, Type.BF16, *HALVES_AT]:
        rng = np.random.default_rng(int(kind) + 1)
        blocks = quantized(kind, rng) if kind in HALVES_AT else floats(kind, rng)
        put(folder, kind.name.lower(), blocks, quants.dequantize(blocks.reshape(-1), kind))
    put(folder, "q1_0", *low_bits(1, np.random.default_rng(101)))
    put(folder, "q2_0", *low_bits(2, np.random.default_rng(102)))
    for bits, group, encoding in INTEGERS:
        rng = np.random.default_rng([bits, group])
        name = f"int{bits}_{group}_{encoding}"
        put(folder, name, *grouped_integers(bits, group, encoding, rng))
    put(folder, "t4", *t4(np.random.default_rng(100)))


if __name__ == "__main__":
    main()
