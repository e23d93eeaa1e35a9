// Choice of a file in a repository, from lists of files as the hub has them: by format, by memory,
// and without files that are no language models.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundle } from "./support.mjs";

const text = await bundle("pkg", "src", "choice.ts");
const { candidatesOf, keyOf, parseName, rank, reasonFor } = await import(
  `data:text/javascript,${encodeURIComponent(text)}`
);

const GIB = 2 ** 30;
const file = (path, sizeBytes = 1e9) => ({ path, sizeBytes });
/** Facts about a device that leaves a model so many GiB. */
const facts = (gibibytes, more = {}) => ({
  memoryBytes: gibibytes * GIB,
  otherBytes: null,
  parameters: null,
  exactBytes: new Map(),
  ...more,
});
const names = (files, repository = "some") =>
  candidatesOf(files, repository).map(({ file }) => file);

/** The files of ibm-granite/granite-4.0-h-micro-GGUF. */
const GRANITE = Object.entries({
  Q2_K: 1226247840,
  Q3_K_M: 1555472032,
  Q4_0: 1855516320,
  Q4_K_M: 1942564512,
  Q5_K_M: 2273455776,
  Q8_0: 3397676704,
  f16: 6391000000,
}).map(([format, bytes]) => file(`granite-4.0-h-micro-${format}.gguf`, bytes));
const README = [file(".gitattributes", 2000), file("README.md", 9000), file("config.json", 900)];

function chosen(gibibytes, files = GRANITE, more = {}, quantize = undefined) {
  const known = facts(gibibytes, more);
  const ranked = rank(
    candidatesOf([...files, ...README], "granite-4.0-h-micro-GGUF", quantize),
    known,
  );
  return { ...ranked[0], reason: reasonFor(ranked, known) };
}

test("formats are read from names as uploaders write them", () => {
  for (const [path, format, base] of [
    ["Qwen3-1.7B-Q8_0.gguf", "Q8_0", "qwen3-1.7b"],
    ["smollm2-360m-instruct-q8_0.gguf", "Q8_0", "smollm2-360m-instruct"],
    ["Phi-4-mini-instruct.BF16.gguf", "BF16", "phi-4-mini-instruct"],
    ["Qwen3-4B-UD-Q4_K_XL.gguf", "Q4_K_XL", "qwen3-4b"],
    ["Qwen3-4B.i1-IQ3_XXS.gguf", "IQ3_XXS", "qwen3-4b"],
    ["Q8_0/GLM-4.5-Air-Q8_0-00001-of-00003.gguf", "Q8_0", "glm-4.5-air"],
    ["UD-IQ2_M/model-00001-of-00002.gguf", "IQ2_M", "model"],
    ["gpt-oss-20b-MXFP4_MOE.gguf", "MXFP4_MOE", "gpt-oss-20b"],
    ["model-fp16.gguf", "F16", "model"],
    ["Bonsai-1.7B-Q1_0.gguf", "Q1_0", "bonsai-1.7b"],
    ["LFM2-350M-Q4_K_M-hip-optimized.gguf", "Q4_K_M", "lfm2-350m-hip-optimized"],
    ["model.gguf", "", "model"],
  ])
    assert.deepEqual(parseName(path), { format, base }, path);
});

test("more memory allows more precise files, up to 8 bits", () => {
  for (const [gibibytes, format] of [
    [32, "Q8_0"],
    [8, "Q8_0"],
    [5, "Q5_K_M"],
    // More than half of memory: the usual 4 bits, then others, then fewer.
    [4, "Q4_K_M"],
    [2.1, "Q4_K_M"],
    [2, "Q4_0"],
    [1.75, "Q3_K_M"],
    [1.5, "Q2_K"],
  ]) {
    const { file, reason } = chosen(gibibytes);
    assert.equal(file, `granite-4.0-h-micro-${format}.gguf`, `${gibibytes} GiB: ${reason}`);
    assert.ok(reason.startsWith(file) && reason.endsWith("."), reason);
  }
  assert.match(
    chosen(8).reason,
    /of 7 models, the most precise of up to 8 bits that takes at most half/,
  );
  assert.match(chosen(4).reason, /the usual 4 bits.*about 2\.1 GiB of the 4\.0 GiB/);
  const { file: smallest, reason } = chosen(1);
  assert.equal(smallest, "granite-4.0-h-micro-Q2_K.gguf");
  assert.match(reason, /the smallest of 7 models, needs about 1\.4 GiB, more than the 1\.0 GiB/);
});

test("headers make the figures exact", () => {
  const candidates = candidatesOf(GRANITE, "granite");
  const [q8] = candidates.filter(({ format }) => format === "Q8_0");
  assert.equal(chosen(8, GRANITE, { otherBytes: 1.5 * GIB }).format, "Q5_K_M");
  const refused = { exactBytes: new Map([[keyOf(q8), Infinity]]) };
  assert.equal(chosen(8, GRANITE, refused).format, "Q5_K_M");
  const exact = chosen(8, GRANITE, { exactBytes: new Map([[keyOf(q8), 3.5 * GIB]]) });
  assert.match(exact.reason, /it takes 3\.5 GiB of the 8\.0 GiB/);
});

test("models with few weights may fill the memory", () => {
  const files = [file("m-Q4_K_M.gguf", 4e8), file("m-Q8_0.gguf", 8e8)];
  assert.equal(chosen(1.2, files).format, "Q4_K_M");
  assert.equal(chosen(1.2, files, { parameters: 7e8 }).format, "Q8_0");
});

test("files that are no language models, and formats that never load, are left out", () => {
  const files = [
    "mmproj-F16.gguf",
    "mmproj-model-f16.gguf",
    "imatrix_unsloth.gguf",
    "Qwen3-4B.imatrix.gguf",
    "mtp-Qwen3-4B-Q8_0.gguf",
    "Qwen3-4B-draft-Q4_0.gguf",
    "Qwen3-4B-eagle3-Q8_0.gguf",
    "Qwen3-4B-IQ1_S.gguf",
    "Qwen3-4B-TQ1_0.gguf",
    "Qwen3-4B-Q4_0_4_4.gguf",
    "Qwen3-4B-Q4_K_M.gguf",
    "imatrix.dat",
    "onnx/model.onnx",
  ].map((path) => file(path));
  assert.deepEqual(names(files, "Qwen3-4B-GGUF"), ["Qwen3-4B-Q4_K_M.gguf"]);
  // All files of a repository may have such a word in their names.
  assert.deepEqual(names([file("Qwen3-4B-MTP-Q4_0.gguf")]), ["Qwen3-4B-MTP-Q4_0.gguf"]);
  assert.deepEqual(names([file("pytorch_model.bin"), ...README]), []);
});

test("parts count as one file, if none is missing", () => {
  const parts = [1, 2, 3].map((n) => file(`BF16/m-BF16-0000${n}-of-00003.gguf`, 1e9));
  const [whole] = candidatesOf(parts, "m");
  assert.deepEqual(whole, {
    file: "BF16/m-BF16-00001-of-00003.gguf",
    format: "BF16",
    sizeBytes: 3e9,
  });
  assert.deepEqual(names(parts.slice(1)), []);
});

test("of several models, those of the repository’s name or the largest group count", () => {
  const files = ["LFM2-350M-Q4_0", "LFM2-350M-Q4_K_M", "LFM2-350M-Q4_K_M-hip-optimized"];
  const listed = files.map((name) => file(`${name}.gguf`));
  assert.deepEqual(names(listed, "LFM2-350M-GGUF"), [
    "LFM2-350M-Q4_0.gguf",
    "LFM2-350M-Q4_K_M.gguf",
  ]);
  assert.deepEqual(names(listed, "mirror").length, 2);
});

test("unknown formats come last, and 16 bits only where nothing smaller fits better", () => {
  assert.equal(chosen(8, [file("m.gguf"), file("m-Q2_K.gguf")]).file, "m-Q2_K.gguf");
  assert.equal(chosen(8, [file("m-F16.gguf"), file("m-Q4_0.gguf")]).format, "Q4_0");
  assert.equal(chosen(8, [file("m-F16.gguf"), file("m-Q1_0.gguf")]).format, "Q1_0");
  assert.equal(chosen(1.5, [file("m-F16.gguf"), file("m-Q2_K.gguf", 9e8)]).format, "F16");
  assert.match(chosen(8, [file("m.gguf")]).reason, /^m\.gguf: the repository’s only model;/);
});

const FOLDER = [
  file("config.json", 900),
  file("tokenizer.json", 9e6),
  file("model.safetensors.index.json", 3e4),
  file("model-00001-of-00002.safetensors", 2e9),
  file("model-00002-of-00002.safetensors", 2e9),
  file("original/consolidated.00.pth", 4e9),
];

test("a folder of safetensors is quantized if it does not fit, and comes after GGUF", () => {
  for (const [gibibytes, quantize] of [
    [8, undefined],
    [3, "Q8_0"],
    [1.5, "T4"],
  ]) {
    const found = chosen(gibibytes, FOLDER);
    assert.deepEqual([found.file, found.quantize], ["", quantize]);
    assert.equal(/quantized to/.test(found.reason), quantize !== undefined, found.reason);
  }
  const asked = chosen(1.5, FOLDER, {}, "Q8_0");
  assert.equal(asked.quantize, "Q8_0");
  assert.doesNotMatch(asked.reason, /as memory is short/);
  assert.equal(chosen(8, [...FOLDER, ...GRANITE]).format, "Q8_0");
  const incomplete = FOLDER.filter(({ path }) => path !== "tokenizer.json");
  assert.deepEqual(names(incomplete), []);
});
