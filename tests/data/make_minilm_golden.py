"""Writes golden/minilm.json and .f32: embeddings of sentences by all-MiniLM-L6-v2.

Usage: `make_minilm_golden.py FOLDER` with the folder of the model and the packages of
tiny/requirements.txt. transformers computes in F32 on the CPU what the package's files ask
sentence-transformers to do: mean of all rows, then length 1.
"""

import hashlib
import json
import pathlib
import sys

import torch
from transformers import AutoModel, AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent

SENTENCES = """\
This is an example sentence
Each sentence is converted
The cat sits outside on the mat.
A man is playing a guitar in the park.
The new movie is awesome!
The dog plays in the garden, and the children laugh.
A woman watches TV after a long day at work.
The new movie is so great that I would watch it again.
How do I reset my password?
I forgot my login credentials and cannot sign in.
Paris is the capital of France.
Berlin is the capital and largest city of Germany.
The mitochondria is the powerhouse of the cell.
Water boils at 100 degrees Celsius at sea level.
E = mc², said Einstein in 1905.
Quantum computers use qubits instead of bits.
def square(x): return x * x
SELECT name, COUNT(*) FROM users GROUP BY name HAVING COUNT(*) > 1;
git rebase --interactive HEAD~3
error[E0502]: cannot borrow `x` as mutable because it is also borrowed as immutable
https://example.com/path?query=1&other=two#fragment
The quick brown fox jumps over the lazy dog
THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG
the quick brown fox jumps over the lazy dog
It's the students' choice: don't, can't, won't.
Naïve café façade, crème brûlée, jalapeño
Die Straße nach Österreich führt über die Alpen.
El niño comió una manzana en la montaña.
L'été dernier, nous avons visité l'Île de Ré.
Быстрая коричневая лиса перепрыгивает через ленивую собаку.
我喜欢在周末读书。
東京は日本の首都です。
서울은 대한민국의 수도이다.
مرحبا بالعالم
नमस्ते दुनिया
I ❤️ pizza 🍕 and coding 👩‍💻!
3.14159265358979 is close to π
On 2026-11-30 at 16:15 the price rose by 12.5 % to $1,234.56.
a
?
!!! ??? ... ---
Antidisestablishmentarianism is a very long word.
Pneumonoultramicroscopicsilicovolcanoconiosis
[CLS] and [SEP] are special tokens, and so is [MASK].
tabs\tand   several    spaces
She sells sea shells by the sea shore; the shells she sells are surely seashells.
Large language models generate text one token at a time.
Embeddings map texts to vectors so that similar texts are close to each other.
Nobody expects the Spanish Inquisition! Our chief weapon is surprise, fear and surprise.
""".splitlines()
SENTENCES = [sentence.replace("\\t", "\t") for sentence in SENTENCES]
LONG = "Sentence {} of a text that fills most of the window."
SENTENCES.append(" ".join(LONG.format(i) for i in range(18)))


@torch.no_grad()
def main():
    folder = pathlib.Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    rows, tokens = [], 0
    for sentence in SENTENCES:
        ids = tokenizer(sentence, return_tensors="pt", truncation=False)
        tokens += ids["input_ids"].shape[1]
        assert ids["input_ids"].shape[1] <= 256, sentence
        row = model(**ids).last_hidden_state[0].mean(0)
        rows.append(row / row.norm())
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    golden = {"weights_sha256": weights, "tokens": tokens, "sentences": SENTENCES}
    target = HERE / "golden" / "minilm.json"
    target.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
    target.with_suffix(".f32").write_bytes(torch.stack(rows).numpy().astype("<f4").tobytes())
    print(len(rows), "sentences,", tokens, "tokens")


if __name__ == "__main__":
    main()
