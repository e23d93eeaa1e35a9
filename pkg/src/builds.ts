/** Which of the engine's builds a browser runs: the same code for more or fewer instructions. */

import type { Build } from "./types.js";
import type * as Boundary from "./wasm/simd/tablm.js";

/** Each runs in fewer browsers than the one before, and faster. Their names are folders of `wasm/`. */
const BUILDS: readonly Build[] = ["simd", "relaxed", "threads"];

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
const SHARED_PAGES_MAX: readonly number[] = [65536, 32768, 16384];

/** Memory that workers may share, or nothing where there can be none. */
function sharedMemory(): WebAssembly.Memory | undefined {
  if (!globalThis.crossOriginIsolated) return undefined;
  for (const maximum of SHARED_PAGES_MAX) {
    try {
      return new WebAssembly.Memory({ initial: SHARED_PAGES, maximum, shared: true });
    } catch {
      // Less, then.
    }
  }
  return undefined;
}

/** An engine that was started. */
export interface StartedEngine {
  build: Build;
  memory: WebAssembly.Memory;
  boundary: typeof Boundary;
}

/** The best build that this browser runs, of those that `urls` has where it names any; started. */
export async function startEngine(urls: WasmUrls | null, withThreads: boolean): Promise<StartedEngine> {
  const isRelaxed = WebAssembly.validate(RELAXED_DOT);
  const shared = withThreads && isRelaxed ? sharedMemory() : undefined;
  const runs: Record<Build, boolean> = { simd: true, relaxed: isRelaxed, threads: shared !== undefined };
  const build = BUILDS.findLast((build) => runs[build] && (urls === null || urls[build] !== undefined)) ?? "simd";
  const boundary = await glue[build]();
  const options = { module_or_path: urls?.[build] ?? wasm[build](), ...(build === "threads" && { memory: shared }) };
  const { memory } = await boundary.default(options);
  return { build, memory, boundary };
}

/** The engine of another worker, in its memory, for a thread of its. */
export async function joinEngine(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<typeof Boundary> {
  const boundary = await glue.threads();
  await boundary.default({ module_or_path: module, memory });
  return boundary;
}
