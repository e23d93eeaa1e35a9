/** One file from the network, piece by piece into a sink, with length, magic and sha256 checked. */

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { TabLMError, throwIfAborted } from "./errors.js";

/** One file to fetch. */
export interface RemoteFile {
  name: string;
  url: string;
  /** Absence is no error. */
  optional: boolean;
}

/** Where the pieces go. */
export interface Sink {
  /** Takes the next piece. Throws a QuotaExceededError when there is no room. */
  write(piece: Uint8Array): void | Promise<void>;
}

/** What is known of a file before its bytes arrive. */
export interface DownloadHead {
  sizeBytes: number | null;
}

/** What arrived. */
export interface Downloaded {
  sizeBytes: number;
  sha256: string;
}

/** How one file is fetched. */
export interface DownloadOptions {
  signal: AbortSignal;
  /** Called once the server has answered; may throw to refuse. */
  onHead?: (head: DownloadHead) => void | Promise<void>;
  onBytes: (loadedBytes: number, totalBytes: number | null) => void;
}

const GGUF_MAGIC = "GGUF";
/** Of the files beside the weights; the largest tokenizers have half of it. */
const MAX_TEXT_BYTES = 64 << 20;

/** A server's answer, whatever it is; `network` where there is none. */
async function ask(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    throwIfAborted(init.signal ?? undefined);
    throw new TabLMError(
      "network",
      `${url}: no answer from the server (${(error as Error).message})`,
      { cause: error },
    );
  }
}

/** The answer, if it is a good one; any other is `network` with the status and the URL. */
async function checked(url: string, response: Response): Promise<Response> {
  if (response.ok) return response;
  await response.body?.cancel();
  const hint =
    response.status === 404 && /\/config\.json(\?|$)/.test(url)
      ? " (a folder of safetensors has one; where there are .gguf files, name one of them)"
      : "";
  throw new TabLMError("network", `${url}: found status ${response.status}, expected 200${hint}`);
}

/** Asks for a URL; anything but a good answer is `network` with the status and the URL. */
export async function request(url: string, init: RequestInit): Promise<Response> {
  return checked(url, await ask(url, init));
}

/**
 * Asks for a file that may be absent: then `null`. Only the statuses that say so count, and web pages, by which
 * servers of single-page sites answer for everything unknown: a refusal may hide a file that the model needs.
 */
export async function requestOptional(url: string, signal: AbortSignal): Promise<Response | null> {
  const response = await ask(url, { signal });
  const isAbsent =
    response.status === 404 || response.status === 410 || (response.ok && isHtml(response));
  if (!isAbsent) return checked(url, response);
  await response.body?.cancel();
  return null;
}

/** The length a response promises, where it can be trusted. */
export function promisedLength(response: Response): number | null {
  if (response.headers.get("content-encoding")) return null;
  // Another origin's text may be compressed, which it need not tell.
  const type = response.headers.get("content-type") ?? "";
  if (response.type === "cors" && /^(text\/|application\/json\b)/i.test(type)) return null;
  const text = response.headers.get("content-length");
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** Whether the server sent a web page. */
export function isHtml(response: Response): boolean {
  return /^text\/html\b/i.test(response.headers.get("content-type") ?? "");
}

/** The first bytes tell a model from an error page. */
function checkStart(name: string, url: string, start: Uint8Array): void {
  const text = String.fromCharCode(...start.subarray(0, 16));
  if (/\.gguf$/i.test(name)) {
    if (text.slice(0, 4) === GGUF_MAGIC) return;
    throw new TabLMError(
      "malformed",
      `${url}: starts with ${JSON.stringify(text)}, expected "${GGUF_MAGIC}"`,
    );
  }
  if (/\.json$/i.test(name) && text.trimStart().startsWith("<")) {
    throw new TabLMError("malformed", `${url}: starts with ${JSON.stringify(text)}, expected JSON`);
  }
}

/** Refuses a text that has no end, or none near. */
function checkLength(url: string, sizeBytes: number): void {
  if (sizeBytes > MAX_TEXT_BYTES)
    throw new TabLMError(
      "malformed",
      `${url}: found more than ${MAX_TEXT_BYTES} bytes, expected a text of fewer`,
    );
}

/** Collects the first bytes of a stream until there are enough to check, and counts those of a text. */
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

/** Reads a body to its end, handing each piece on. Answers the number of bytes. */
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
        throw new TabLMError("network", `${url}: the connection broke after ${loadedBytes} bytes`, {
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
 * Downloads one file into a sink; `null` for an optional one that is absent. Throws `network`, `malformed` (not
 * the kind of file its name says), `aborted`, or what the sink throws.
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
  const sizeBytes = promisedLength(response);
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
  // Another origin's file may have been compressed on the way, which its answer need not tell; a connection that
  // breaks is an error before this.
  if (sizeBytes !== null && loadedBytes !== sizeBytes && response.type !== "cors") {
    throw new TabLMError("network", `${url}: found ${loadedBytes} bytes, expected ${sizeBytes}`);
  }
  return { sizeBytes: loadedBytes, sha256: bytesToHex(hash.digest()) };
}

/** The whole of a text. */
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

/** The sha256 of a stored file, read in pieces. */
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

/** The sha256 of a text. */
export function hashText(text: string): string {
  return bytesToHex(sha256(new TextEncoder().encode(text)));
}
