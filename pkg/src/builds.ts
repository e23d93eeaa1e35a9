/** Which of the engine's builds a browser runs: the same code for more or fewer instructions. */

import type { Build } from "./types.js";
import type * as Boundary from "./wasm/simd/tablm.js";

/** Where the wasm of builds is, if not beside the package. */
export type WasmUrls = Partial<Record<Build, string>>;

/** A build's glue; the names are spelt out here so that bundlers find them. */
const glue: Record<Build, () => Promise<typeof Boundary>> = {
  simd: () => import("./wasm/simd/tablm.js"),
  relaxed: () => import("./wasm/relaxed/tablm.js" as string) as Promise<typeof Boundary>,
  threads: () => import("./wasm/threads/tablm.js" as string) as Promise<typeof Boundary>,
};
const wasm: Record<Build, () => URL> = {
  simd: () => new URL("./wasm/simd/tablm_bg.wasm", import.meta.url),
  relaxed: () => new URL("./wasm/relaxed/tablm_bg.wasm", import.meta.url),
  threads: () => new URL("./wasm/threads/tablm_bg.wasm", import.meta.url),
};

/** A function of nothing but `i32x4.relaxed_dot_i8x16_i7x16_add_s` of zeros. */
// prettier-ignore
const RELAXED_DOT = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 5, 1, 0x60, 0, 1, 0x7b,
  3, 2, 1, 0,
  10, 19, 1, 17, 0, 0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x93, 2, 0x0b,
);

/** Pages of 64 KiB that the build with threads has from the start, some more than it needs. */
const SHARED_PAGES = 64;
/** And at most, from all that addresses reach: some browsers reserve that at once, and may not have it. */
const MAX_SHARED_PAGES: readonly number[] = [65536, 32768, 16384];

/** Memory that workers may share. */
function sharedMemory(): WebAssembly.Memory {
  for (const maximum of MAX_SHARED_PAGES) {
    try {
      return new WebAssembly.Memory({ initial: SHARED_PAGES, maximum, shared: true });
    } catch {
      // Less, then.
    }
  }
  throw new RangeError(
    `the browser has no ${MAX_SHARED_PAGES.at(-1)} pages of memory that workers may share`,
  );
}

/** An engine that was started. */
export interface StartedEngine {
  build: Build;
  memory: WebAssembly.Memory;
  boundary: typeof Boundary;
}

/** The builds that this browser runs, best first. */
function runnable(withThreads: boolean): Build[] {
  const single: Build[] = WebAssembly.validate(RELAXED_DOT) ? ["relaxed", "simd"] : ["simd"];
  if (!globalThis.crossOriginIsolated || single[0] === "simd") return single;
  // With one thread it is as good as another, should it be the only one that can be had.
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
 * The best build that this browser runs and that can be had, started: of those that `urls` names if there is
 * one, else of the package's own. Without a network that is one which an earlier visit ran.
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
          `tablm: runs the build ${build}, as better ones could not be had:`,
          ...problems,
        );
      return started;
    } catch (error) {
      problems.push(error);
    }
  }
  throw problems[0];
}

/** The engine of another worker, in its memory, for a thread of its. */
export async function joinEngine(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<typeof Boundary> {
  const boundary = await glue.threads();
  await boundary.default({ module_or_path: module, memory });
  return boundary;
}
