/**
 * Download of a file in pieces, with its length and first bytes checked and its SHA-256 computed. A
 * connection that breaks is continued from the last byte, where the server tells that the file is
 * still the same.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { hasCode, TabLMError, throwIfAborted } from "./errors.js";
import { isTransient, MAX_RETRIES, pause } from "./retry.js";

/** A file to fetch. */
export interface RemoteFile {
  name: string;
  url: string;
  /** True if the server may lack it. */
  optional: boolean;
}

/** Receiver of the pieces. */
export interface Sink {
  /** Takes the next piece. Throws a QuotaExceededError when there is no room. */
  write(piece: Uint8Array): void | Promise<void>;
  /** Drops all pieces: the next one is the first again. */
  restart(): void | Promise<void>;
}

/** Properties of a file that are known from the response's headers. */
export interface DownloadHead {
  sizeBytes: number | null;
}

/** Properties of a downloaded file. */
export interface Downloaded {
  sizeBytes: number;
  sha256: string;
}

/** Options of a download. */
export interface DownloadOptions {
  signal: AbortSignal;
  /** Called when the server has answered; may throw to end the download. */
  onHead?: (head: DownloadHead) => void | Promise<void>;
  onBytes: (loadedBytes: number, totalBytes: number | null) => void;
}

const GGUF_MAGIC = "GGUF";
/** Milliseconds without a byte after which a connection counts as broken. */
const STALL_MS = 30_000;
/** Maximum length of a text file; the largest tokenizers have half of it. */
const MAX_TEXT_BYTES = 64 << 20;

/**
 * The response of a server, whatever its status. Repeats the request while the server is busy.
 * Throws `network` where there is no response.
 */
async function send(url: string, init: RequestInit): Promise<Response> {
  for (let retry = 0; ; retry += 1) {
    const response = await sendOnce(url, init);
    if (!isTransient(response) || retry === MAX_RETRIES) return response;
    await response.body?.cancel();
    await pause(retry, init.signal, response);
  }
}

async function sendOnce(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    throwIfAborted(init.signal ?? undefined);
    throw new TabLMError(
      "network",
      `${url}: found no response, expected one (${(error as Error).message})`,
      { cause: error },
    );
  }
}

/**
 * The response if its status is a success. Throws `network` with the status and the URL otherwise.
 */
async function requireSuccess(url: string, response: Response): Promise<Response> {
  if (response.ok) return response;
  await response.body?.cancel();
  const hint =
    response.status === 404 && /\/config\.json(\?|$)/.test(url)
      ? " (a safetensors folder has this file; for GGUF, name the .gguf file)"
      : "";
  throw new TabLMError("network", `${url}: found status ${response.status}, expected 200${hint}`);
}

/** Requests a URL. Throws `network` with the status and the URL unless it succeeds. */
export async function request(url: string, init: RequestInit): Promise<Response> {
  return requireSuccess(url, await send(url, init));
}

/**
 * Requests a file that may be absent; `null` for the statuses that say so, and for web pages, which
 * the servers of single-page sites send for unknown paths. Other failures throw, as they may hide a
 * file that the model needs.
 */
export async function requestOptional(url: string, signal: AbortSignal): Promise<Response | null> {
  const response = await send(url, { signal });
  const isAbsent =
    response.status === 404 || response.status === 410 || (response.ok && isHtml(response));
  if (!isAbsent) return requireSuccess(url, response);
  await response.body?.cancel();
  return null;
}

/** Length of the body according to its header; `null` if the header is missing or unreliable. */
export function declaredLength(response: Response): number | null {
  if (response.headers.get("content-encoding")) return null;
  // Text from another origin may be compressed, and CORS hides the header that says so.
  const type = response.headers.get("content-type") ?? "";
  if (response.type === "cors" && /^(text\/|application\/json\b)/i.test(type)) return null;
  const text = response.headers.get("content-length");
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** True if the response is a web page. */
export function isHtml(response: Response): boolean {
  return /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
}

/** Throws `malformed` if the first bytes are not those of the file's type. */
function checkStart(name: string, url: string, start: Uint8Array): void {
  const text = String.fromCharCode(...start.subarray(0, 16));
  if (/\.gguf$/i.test(name)) {
    if (text.slice(0, 4) === GGUF_MAGIC) return;
    throw new TabLMError(
      "malformed",
      `${url}: found ${JSON.stringify(text)} at its start, expected "${GGUF_MAGIC}"`,
    );
  }
  if (/\.json$/i.test(name) && text.trimStart().startsWith("<")) {
    throw new TabLMError(
      "malformed",
      `${url}: found ${JSON.stringify(text)} at its start, expected JSON`,
    );
  }
}

/** Throws `malformed` for a text that is too long. */
function checkLength(url: string, sizeBytes: number): void {
  if (sizeBytes > MAX_TEXT_BYTES)
    throw new TabLMError(
      "malformed",
      `${url}: found more than ${MAX_TEXT_BYTES} bytes, expected fewer`,
    );
}

/** Check of a stream's first bytes, and of the length of texts. */
class StartCheck {
  #start = new Uint8Array(0);
  #done = false;
  #sizeBytes = 0;

  constructor(
    private name: string,
    private url: string,
  ) {}

  add(piece: Uint8Array, isLast: boolean): void {
    this.#sizeBytes += piece.length;
    if (/\.(json|jinja)$/i.test(this.name)) checkLength(this.url, this.#sizeBytes);
    if (this.#done) return;
    const joined = new Uint8Array(Math.min(16, this.#start.length + piece.length));
    joined.set(this.#start);
    joined.set(piece.subarray(0, joined.length - this.#start.length), this.#start.length);
    this.#start = joined;
    if (joined.length < 4 && !isLast) return;
    this.#done = true;
    checkStart(this.name, this.url, joined);
  }
}

/** Settles as a read does, or rejects if it takes too long. */
function beforeStall<T>(read: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stall = new Promise<never>((_, reject) => {
    const error = new Error(`nothing for ${STALL_MS / 1000} s`);
    timer = setTimeout(() => reject(error), STALL_MS);
  });
  return Promise.race([read, stall]).finally(() => clearTimeout(timer));
}

/** Properties that two responses with the same file have in common. */
interface Version {
  sizeBytes: number | null;
  /** Strong entity tag, or else the time of the last change; `null` if the server tells neither. */
  validator: string | null;
}

function versionOf(response: Response, sizeBytes: number | null): Version {
  const tag = response.headers.get("etag");
  const strong = tag !== null && !tag.startsWith("W/") ? tag : null;
  return { sizeBytes, validator: strong ?? response.headers.get("last-modified") };
}

/**
 * Requests a file from `offset` on, or from its beginning if that is not possible. Throws
 * `integrity` if the file is no longer the same.
 */
async function requestRest(
  url: string,
  offset: number,
  version: Version,
  signal: AbortSignal,
): Promise<{ response: Response; isWhole: boolean }> {
  const { sizeBytes, validator } = version;
  const canContinue = offset > 0 && sizeBytes !== null && validator !== null;
  const headers = canContinue ? { Range: `bytes=${offset}-` } : {};
  // Not `send`, which would repeat what the caller repeats.
  const response = await requireSuccess(url, await sendOnce(url, { signal, headers }));
  const isWhole = response.status !== 206;
  const length = declaredLength(response);
  const total = length === null ? null : length + (isWhole ? 0 : offset);
  const found = versionOf(response, total);
  // CORS hides the range; the length of the rest says the same.
  const range = response.headers.get("content-range") ?? `bytes ${offset}-`;
  const isSame =
    found.validator === validator &&
    (found.sizeBytes === sizeBytes || (isWhole && response.type === "cors")) &&
    (isWhole || range.startsWith(`bytes ${offset}-`));
  if (isSame) return { response, isWhole };
  await response.body?.cancel();
  const describe = ({ sizeBytes, validator }: Version): string =>
    `${sizeBytes ?? "?"} bytes, ${validator ?? "no entity tag"}`;
  throw new TabLMError(
    "integrity",
    `${url}: changed during the download: found ${describe(found)}, expected ${describe(version)}`,
  );
}

/** Reads a body to its end, passes each piece on, and returns the number of bytes. */
async function pump(
  body: ReadableStream<Uint8Array>,
  url: string,
  signal: AbortSignal,
  take: (piece: Uint8Array) => void | Promise<void>,
): Promise<number> {
  const reader = body.getReader();
  let loadedBytes = 0;
  try {
    for (;;) {
      let result;
      try {
        result = await beforeStall(reader.read());
      } catch (error) {
        throwIfAborted(signal);
        const text = `${url}: the connection ended after ${loadedBytes} bytes`;
        throw new TabLMError("network", `${text} (${(error as Error).message})`, { cause: error });
      }
      throwIfAborted(signal);
      if (result.done) return loadedBytes;
      await take(result.value);
      loadedBytes += result.value.length;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * Downloads a file into a sink; `null` for an optional one that the server does not have. Throws
 * `network`, `malformed` (another type of file than its name says), `aborted`, or the sink's
 * errors.
 */
export async function downloadFile(
  { name, url, optional }: RemoteFile,
  sink: Sink,
  options: DownloadOptions,
): Promise<Downloaded | null> {
  const response = await (optional
    ? requestOptional(url, options.signal)
    : request(url, { signal: options.signal }));
  if (!response) return null;
  const sizeBytes = declaredLength(response);
  if (isHtml(response)) {
    await response.body?.cancel();
    throw new TabLMError(
      "malformed",
      `${url}: found a web page (content type text/html), expected ${name}`,
    );
  }
  await options.onHead?.({ sizeBytes });
  if (!response.body) throw new TabLMError("network", `${url}: found no body, expected ${name}`);

  const version = versionOf(response, sizeBytes);
  let [hash, start, seen, furthest] = [sha256.create(), new StartCheck(name, url), 0, 0];
  // What arrived before a restart: without a validator, only these bytes tell that the file is the
  // same, of which readers may have the beginning.
  let before: { bytes: number; digest: string } | undefined;
  const take = async (piece: Uint8Array): Promise<void> => {
    if (before && seen + piece.length >= before.bytes) {
      const same = piece.subarray(0, before.bytes - seen);
      if (bytesToHex(hash.clone().update(same).digest()) !== before.digest)
        throw new TabLMError(
          "integrity",
          `${url}: changed during the download: found other bytes, expected those of before`,
        );
      before = undefined;
    }
    start.add(piece, false);
    hash.update(piece);
    await sink.write(piece);
    seen += piece.length;
    options.onBytes(seen, sizeBytes !== null && seen > sizeBytes ? null : sizeBytes);
  };
  let body: ReadableStream<Uint8Array> | null = response.body;
  for (let retry = 0; ; retry += 1) {
    try {
      if (!body) {
        const rest = await requestRest(url, seen, version, options.signal);
        if (rest.isWhole && seen > 0) {
          await sink.restart();
          before ??= { bytes: seen, digest: bytesToHex(hash.clone().digest()) };
          [hash, start, seen] = [sha256.create(), new StartCheck(name, url), 0];
        }
        body = rest.response.body ?? new Blob([]).stream();
      }
      await pump(body, url, options.signal, take);
      // A file from another origin may have been compressed, and CORS hides the header that says
      // so. There only `pump` detects a connection that ends early.
      if (sizeBytes === null || seen === sizeBytes || response.type === "cors") break;
      throw new TabLMError("network", `${url}: found ${seen} bytes, expected ${sizeBytes}`);
    } catch (error) {
      throwIfAborted(options.signal);
      if (seen > furthest) [furthest, retry] = [seen, 0];
      if (!(hasCode(error) && error.code === "network") || retry === MAX_RETRIES) throw error;
      body = null;
      await pause(retry, options.signal);
    }
  }
  if (seen === 0) throw new TabLMError("malformed", `${url}: found 0 bytes, expected ${name}`);
  start.add(new Uint8Array(0), true);
  return { sizeBytes: seen, sha256: bytesToHex(hash.digest()) };
}

/** The body of a response as a text. */
export async function readAll(
  url: string,
  { body }: Response,
  signal: AbortSignal,
): Promise<string> {
  const decoder = new TextDecoder();
  let [text, sizeBytes] = ["", 0];
  if (body) {
    await pump(body, url, signal, (piece) => {
      checkLength(url, (sizeBytes += piece.length));
      text += decoder.decode(piece, { stream: true });
    });
  }
  return text + decoder.decode();
}

/** SHA-256 of a stored file, read in pieces. */
export async function hashPieces(
  sizeBytes: number,
  read: (offset: number, length: number) => Uint8Array | Promise<Uint8Array>,
  pieceBytes = 4 << 20,
): Promise<string> {
  const hash = sha256.create();
  for (let offset = 0; offset < sizeBytes; offset += pieceBytes) {
    hash.update(await read(offset, Math.min(pieceBytes, sizeBytes - offset)));
  }
  return bytesToHex(hash.digest());
}

/** SHA-256 of a text. */
export function hashText(text: string): string {
  return bytesToHex(sha256(new TextEncoder().encode(text)));
}
