"""Writes safetensors files directly, because numpy has no bfloat16."""

import json


def save(path, tensors):
    """Writes tensors of (name, type, array), where the array has the bytes to store."""
    header, pieces, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, kind, array in tensors:
        data = array.tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        pieces.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *pieces]))
