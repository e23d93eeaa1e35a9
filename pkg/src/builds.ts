/** Builds of the engine, the same code compiled for different wasm features, and their choice. */

import type { Build } from "./types.js";
import type * as Boundary from "./wasm/simd/tablm.js";

/** URLs of the wasm of some builds. */
export type WasmUrls = Partial<Record<Build, string>>;

/** The JavaScript of each build, as literal imports that bundlers find. */
const glue: Record<Build, () => Promise<typeof Boundary>> = {
  simd: () => import("./wasm/simd/tablm.js"),
  relaxed: () => import("./wasm/relaxed/tablm.js" as string) as Promise<typeof Boundary>,
  threads: () => import("./wasm/threads/tablm.js" as string) as Promise<typeof Boundary>,
};
/** The wasm of each build in the package, as expressions that bundlers find. */
const wasm: Record<Build, () => URL> = {
  simd: () => new URL("./wasm/simd/tablm_bg.wasm", import.meta.url),
  relaxed: () => new URL("./wasm/relaxed/tablm_bg.wasm", import.meta.url),
  threads: () => new URL("./wasm/threads/tablm_bg.wasm", import.meta.url),
};

/** A module whose only function computes `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
// prettier-ignore
const RELAXED_DOT = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 5, 1, 0x60, 0, 1, 0x7b,
  3, 2, 1, 0,
  10, 19, 1, 17, 0,
  0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x93, 2, 0x0b,
);

/** Initial shared memory, in pages of 64 KiB: a little more than the module declares. */
const SHARED_PAGES = 64;
/**
 * Limits of shared memory to try, in pages; some browsers reserve the limit at once and may fail.
 */
const MAX_SHARED_PAGES: readonly number[] = [65536, 32768, 16384];

/** Memory that workers can share. Throws a RangeError if the browser has too little. */
function sharedMemory(): WebAssembly.Memory {
  for (const maximum of MAX_SHARED_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: SHARED_PAGES, maximum, shared: true });
    } catch {
      // The next limit is smaller.
    }
  }
  throw new RangeError(
    `found no shared memory of ${MAX_SHARED_PAGES.at(-1)} pages in this browser`,
  );
}

/** A started engine. */
export interface StartedEngine {
  build: Build;
  memory: WebAssembly.Memory;
  boundary: typeof Boundary;
}

/** The builds that this browser can run, fastest first. */
function runnable(withThreads: boolean): Build[] {
  const single: Build[] = WebAssembly.validate(RELAXED_DOT) ? ["relaxed", "simd"] : ["simd"];
  if (!globalThis.crossOriginIsolated || single[0] === "simd") return single;
  // With one thread, `threads` is no faster, but it may be the only build that a page serves.
  return withThreads ? ["threads", ...single] : [...single, "threads"];
}

async function startBuild(build: Build, url: string | URL): Promise<StartedEngine> {
  const boundary = await glue[build]();
  const { memory } = await boundary.default({
    module_or_path: url,
    ...(build === "threads" && { memory: sharedMemory() }),
  });
  return { build, memory, boundary };
}

/**
 * Starts the fastest build that this browser can run and fetch: first of those in `urls`, then of
 * the package's own. Without a network, that is the build that an earlier visit cached. Throws the
 * first build's error if none starts.
 */
export async function startEngine(
  urls: WasmUrls | null,
  withThreads: boolean,
): Promise<StartedEngine> {
  const builds = runnable(withThreads);
  const named = builds.flatMap((build) =>
    urls?.[build] === undefined ? [] : [[build, urls[build]] as const],
  );
  const choices = [...named, ...builds.map((build) => [build, wasm[build]()] as const)];
  const problems: unknown[] = [];
  for (const [build, url] of choices) {
    try {
      const started = await startBuild(build, url);
      if (problems.length > 0)
        console.warn(
          `tablm: runs the build ${build}, as faster ones could not be started:`,
          ...problems,
        );
      return started;
    } catch (error) {
      problems.push(error);
    }
  }
  throw problems[0];
}

/** Instantiates the module of another worker's engine in its memory, to become its thread. */
export async function joinEngine(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<typeof Boundary> {
  const boundary = await glue.threads();
  await boundary.default({ module_or_path: module, memory });
  return boundary;
}
