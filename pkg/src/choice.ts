/**
 * Choice of a file in a repository: the weights' format is read from each file's name, and the most
 * precise file that leaves room in the device's memory is preferred.
 *
 * Up to 8 bits, more bits give better answers; Q8_0's are as good as those of 16 bits. Fewer bits
 * are faster, in proportion. So the most precise of at most 8 bits is chosen where memory is ample.
 * Where it is not, 4 bits come first, which most people download (Q4_K_M before all): below them
 * answers get visibly worse, and models with fewer than 10⁹ weights suffer at 4 bits already.
 */

import type { QuantizeFormat } from "./generated.js";

/** A file of a repository. */
export interface ListedFile {
  path: string;
  sizeBytes: number;
}

/** A model of a repository, in one format. */
export interface Candidate {
  /** Path of the GGUF file, or of its first part; empty for a folder of safetensors. */
  file: string;
  /** Name of the format, as in file names; empty if unknown. */
  format: string;
  /** Bytes to download. */
  sizeBytes: number;
  /** Format that the weights are converted to while loading. */
  quantize?: QuantizeFormat;
}

/** Knowledge about memory, from the device and from headers that were read. */
export interface MemoryFacts {
  /** Bytes that a model may take. */
  memoryBytes: number;
  /** Bytes beside the weights: state and scratch; `null` before a header was read. */
  otherBytes: number | null;
  /** Number of weights; `null` before a header was read. */
  parameters: number | null;
  /** Bytes that candidates need, exact ones by {@link keyOf}; Infinity if the device refuses. */
  exactBytes: ReadonlyMap<string, number>;
}

/** Formats of 5 to 8 bits, most precise first. */
const MORE_BITS = "Q8_0 Q6_K_XL Q6_K_L Q6_K Q5_K_XL Q5_K_L Q5_K_M Q5_K Q5_K_S Q5_1 Q5_0".split(" ");
/** Larger formats of 4 bits, most precise first. */
const MORE_THAN_USUAL = ["Q4_K_XL", "Q4_K_L"];
/**
 * Formats of 4 bits, the usual one first, then by precision; the last two are those of models that
 * were trained for one or two bits.
 */
const USUAL = "Q4_K_M Q4_K Q4_K_S IQ4_NL Q4_1 IQ4_XS Q4_0 NVFP4 MXFP4 MXFP4_MOE Q2_0 Q1_0".split(
  " ",
);
/** Formats of fewer bits, most precise first. */
const FEWER_BITS = (
  "Q3_K_XL Q3_K_L Q3_K_M IQ3_M Q3_K Q3_K_S IQ3_S IQ3_XS IQ3_XXS " +
  "Q2_K_XL Q2_K_L Q2_K IQ2_M Q2_K_S IQ2_S IQ2_XS IQ2_XXS"
).split(" ");
/** Formats of 16 bits and more, or with a part of them, smallest first. */
const FULL = "Q8_K_XL Q8_K_L BF16 F16 F32".split(" ");
/** Formats that no version of the engine loads. */
const UNSUPPORTED = /^(I?Q1_[SM]|TQ[12]_0|Q4_0_[48]_[48])$/;

/** Order of preference where memory is ample: more precise than usual. */
const AMPLE = [...MORE_BITS, ...MORE_THAN_USUAL];
/** Order of preference otherwise; `folder` is a folder of safetensors, in any format. */
const TIGHT = [...USUAL, ...AMPLE.toReversed(), ...FULL, "folder", ...FEWER_BITS, ""];

/** Models with fewer weights than this may fill the memory: they need more bits. */
const FEW_PARAMETERS = 1e9;
/** Bytes beside the weights before a header was read: those of a small model. */
const ROUGH_OTHER_BYTES = 256 << 20;

/** Names of formats, between separators; Unsloth marks those of its own mixtures with `UD-`. */
const FORMAT_NAMES = [
  "I?Q[1-8]_(?:K_(?:XL|L|M|S)|K|XXS|XS|NL|S|M|[01](?:_[48]_[48])?)",
  "TQ[12]_0|MXFP4_MOE|MXFP4|NVFP4|BF16|FP?16|FP?32",
];
const FORMAT = new RegExp(`(?:^|[-_.])(?:UD-)?(${FORMAT_NAMES.join("|")})(?=[-_.]|$)`, "gi");
const PART_SUFFIX = /-(\d{5})-of-(\d{5})$/;
/** Words of the names of files that are no language models, or only a part of one. */
const AUXILIARY = /(?:^|[-_.])(mmproj|imatrix|mtp|draft|eagle\d?|lora|adapter|vocab)(?=[-_.]|$)/i;

/** A GGUF file by its name: the format, and the name without it. */
interface NamedFile {
  format: string;
  base: string;
}

/** The format in the name of a file, or else in that of its folder, and the rest of the name. */
export function parseName(path: string): NamedFile {
  const segments = path.split("/");
  const name = (segments.pop() ?? "").replace(/\.gguf$/i, "").replace(PART_SUFFIX, "");
  const found = [...name.matchAll(FORMAT)].at(-1);
  const ofFolder = [...(segments.at(-1) ?? "").matchAll(FORMAT)].at(-1);
  const format = (found ?? ofFolder)?.[1]?.toUpperCase() ?? "";
  const rest = found
    ? name.slice(0, found.index) + name.slice(found.index + found[0].length)
    : name;
  return {
    format: format.replace(/^FP/, "F"),
    base: rest.toLowerCase().replace(/[-_.]?(ud|i1|imat)$/, ""),
  };
}

/** Joins the parts of GGUF files; leaves out files of which a part is missing. */
function joinParts(files: readonly ListedFile[]): ListedFile[] {
  const whole: ListedFile[] = [];
  const parts = new Map<string, ListedFile & { left: number }>();
  for (const { path, sizeBytes } of files) {
    const match = PART_SUFFIX.exec(path.replace(/\.gguf$/i, ""));
    if (!match) {
      whole.push({ path, sizeBytes });
      continue;
    }
    const first = path.replace(/\d{5}(-of-\d{5}\.gguf)$/i, "00001$1");
    const known = parts.get(first) ?? { path: first, sizeBytes: 0, left: Number(match[2]) };
    known.sizeBytes += sizeBytes;
    known.left -= 1;
    parts.set(first, known);
  }
  const complete = [...parts.values()].filter(({ left }) => left === 0);
  return [...whole, ...complete.map(({ path, sizeBytes }) => ({ path, sizeBytes }))];
}

/** The group of a repository's own model: of its name, or else the largest. */
function ownModel(groups: Map<string, Candidate[]>, repository: string): Candidate[] {
  const name = repository.toLowerCase().replace(/[-_.]gguf$/, "");
  const named = groups.get(name);
  if (named) return named;
  return [...groups.values()].sort((a, b) => b.length - a.length)[0] ?? [];
}

/** The GGUF models among files; of several models, those of the repository's own. */
function ggufCandidates(files: readonly ListedFile[], repository: string): Candidate[] {
  const all = joinParts(files.filter(({ path }) => /\.gguf$/i.test(path)));
  const main = all.filter(({ path }) => !AUXILIARY.test(path.slice(path.lastIndexOf("/") + 1)));
  const groups = new Map<string, Candidate[]>();
  for (const { path, sizeBytes } of main.length > 0 ? main : all) {
    const { format, base } = parseName(path);
    if (UNSUPPORTED.test(format)) continue;
    groups.set(base, [...(groups.get(base) ?? []), { file: path, format, sizeBytes }]);
  }
  return ownModel(groups, repository);
}

/** The safetensors model among files, as it is and quantized; empty if it is incomplete. */
function folderCandidates(files: readonly ListedFile[], quantize?: QuantizeFormat): Candidate[] {
  const names = new Set(files.map(({ path }) => path));
  const hasWeights = names.has("model.safetensors") || names.has("model.safetensors.index.json");
  if (!hasWeights || !names.has("config.json") || !names.has("tokenizer.json")) return [];
  const weights = files.filter(({ path }) => /^model[^/]*\.safetensors$/.test(path));
  const sizeBytes = weights.reduce((sum, file) => sum + file.sizeBytes, 0);
  const plain: Candidate = { file: "", format: "folder", sizeBytes };
  if (quantize !== undefined) return [{ ...plain, quantize }];
  return [plain, { ...plain, quantize: "Q8_0" }, { ...plain, quantize: "T4" }];
}

/** The models among the files of a repository, in no particular order. */
export function candidatesOf(
  files: readonly ListedFile[],
  repository: string,
  quantize?: QuantizeFormat,
): Candidate[] {
  return [...ggufCandidates(files, repository), ...folderCandidates(files, quantize)];
}

/** Identity of a candidate. */
export const keyOf = ({ file, quantize }: Candidate): string => `${file} ${quantize ?? ""}`;

/** Bytes of a candidate's weights, assuming that a folder stores 16 bits. */
function weightBytes({ sizeBytes, format, quantize }: Candidate): number {
  if (format !== "folder" || quantize === undefined) return sizeBytes;
  return sizeBytes * (quantize === "T4" ? 4.5 / 16 : 8.5 / 16);
}

/** Bytes of memory that a candidate needs, as far as known. */
export function neededBytes(candidate: Candidate, facts: MemoryFacts): number {
  const exact = facts.exactBytes.get(keyOf(candidate));
  return exact ?? weightBytes(candidate) + (facts.otherBytes ?? ROUGH_OTHER_BYTES);
}

/** Bytes up to which the most precise format is chosen. */
function ampleBytes({ memoryBytes, parameters }: MemoryFacts): number {
  return parameters !== null && parameters < FEW_PARAMETERS ? memoryBytes : memoryBytes / 2;
}

/** Position of a candidate's format in an order; beyond its end if it is not listed. */
function place(order: readonly string[], { format }: Candidate): number {
  const index = order.indexOf(format);
  return index < 0 ? order.length : index;
}

/** Sorts candidates, best first; those that do not fit come last, the smallest of them first. */
export function rank(candidates: readonly Candidate[], facts: MemoryFacts): Candidate[] {
  const needs = (candidate: Candidate): number => neededBytes(candidate, facts);
  const isAmple = (candidate: Candidate): boolean =>
    AMPLE.includes(candidate.format) && needs(candidate) <= ampleBytes(facts);
  const fits = (candidate: Candidate): boolean => needs(candidate) <= facts.memoryBytes;
  const inOrder = (order: readonly string[], list: readonly Candidate[]): Candidate[] =>
    list.toSorted(
      (a, b) =>
        place(order, a) - place(order, b) || needs(b) - needs(a) || (a.file < b.file ? -1 : 1),
    );
  const rest = candidates.filter((candidate) => !isAmple(candidate));
  return [
    ...inOrder(AMPLE, candidates.filter(isAmple)),
    ...inOrder(TIGHT, rest.filter(fits)),
    ...rest.filter((candidate) => !fits(candidate)).toSorted((a, b) => needs(a) - needs(b)),
  ];
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** Part of a sentence on why the first of the ranked candidates, which fits, is best. */
function merit(ranked: readonly Candidate[], count: number, facts: MemoryFacts): string {
  const isMore = ({ format }: Candidate): boolean => AMPLE.includes(format);
  const [chosen] = ranked;
  if (!chosen) return "";
  if (isMore(chosen) && neededBytes(chosen, facts) <= ampleBytes(facts)) {
    const how = ampleBytes(facts) < facts.memoryBytes ? "takes at most half of that" : "fits";
    return `of ${count} models, the most precise of up to 8 bits that ${how}`;
  }
  if (USUAL.includes(chosen.format) && ranked.some(isMore))
    return `of ${count} models, the usual 4 bits, as memory is short for more`;
  return `of ${count} models, the best that fits`;
}

/** Reason for choosing the first of the ranked candidates, as a sentence. */
export function reasonFor(ranked: readonly Candidate[], facts: MemoryFacts): string {
  const [chosen] = ranked;
  if (!chosen) return "";
  const count = new Set(ranked.map(({ file }) => file)).size;
  const needs = neededBytes(chosen, facts);
  const name = chosen.file === "" ? "The folder of safetensors" : chosen.file;
  // The caller's own choice of a format leaves no other candidate.
  const isOurs = ranked.some(({ file, quantize }) => file === chosen.file && !quantize);
  const how =
    chosen.quantize && isOurs ? `, quantized to ${chosen.quantize} as memory is short` : "";
  const memory = `${gibibytes(facts.memoryBytes)} that a model may take here`;
  if (!Number.isFinite(needs)) return `${name}${how}: no model of the repository fits this device.`;
  const bytes = `${facts.exactBytes.has(keyOf(chosen)) ? "" : "about "}${gibibytes(needs)}`;
  if (needs > facts.memoryBytes) {
    const which = count === 1 ? "the only model" : `the smallest of ${count} models`;
    return `${name}${how}: ${which}, needs ${bytes}, more than the ${memory}.`;
  }
  const why = count === 1 ? "the repository’s only model" : merit(ranked, count, facts);
  return `${name}${how}: ${why}; it takes ${bytes} of the ${memory}.`;
}
