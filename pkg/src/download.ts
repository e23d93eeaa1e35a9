/**
 * Download of a file in pieces, with its length and first bytes checked and its SHA-256 computed.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { TabLMError, throwIfAborted } from "./errors.js";

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
/** Maximum length of a text file; the largest tokenizers have half of it. */
const MAX_TEXT_BYTES = 64 << 20;

/** The response of a server, whatever its status. Throws `network` where there is none. */
async function send(url: string, init: RequestInit): Promise<Response> {
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
        result = await reader.read();
      } catch (error) {
        throwIfAborted(signal);
        throw new TabLMError("network", `${url}: the connection ended after ${loadedBytes} bytes`, {
          cause: error,
        });
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

  const hash = sha256.create();
  const start = new StartCheck(name, url);
  let seen = 0;
  const loadedBytes = await pump(response.body, url, options.signal, async (piece) => {
    start.add(piece, false);
    hash.update(piece);
    await sink.write(piece);
    seen += piece.length;
    options.onBytes(seen, sizeBytes !== null && seen > sizeBytes ? null : sizeBytes);
  });
  if (loadedBytes === 0)
    throw new TabLMError("malformed", `${url}: found 0 bytes, expected ${name}`);
  start.add(new Uint8Array(0), true);
  // A file from another origin may have been compressed, and CORS hides the header that says so.
  // There only `pump` detects a connection that ends early.
  if (sizeBytes !== null && loadedBytes !== sizeBytes && response.type !== "cors") {
    throw new TabLMError("network", `${url}: found ${loadedBytes} bytes, expected ${sizeBytes}`);
  }
  return { sizeBytes: loadedBytes, sha256: bytesToHex(hash.digest()) };
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
