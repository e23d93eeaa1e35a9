/** Properties of the GPU adapter that the engine's GPU library does not report in browsers. */

import type { AdapterHints } from "./generated.js";

interface AdapterInfo {
  vendor?: string;
  architecture?: string;
  device?: string;
  description?: string;
}

/** The part of WebGPU's types that is used here; the DOM library has none. */
interface Adapter {
  info?: AdapterInfo;
  features: ReadonlySet<string>;
}

interface Gpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<Adapter | null>;
}

/** Features unknown to the GPU library that every device requests where the adapter has them. */
export const EXTRA_FEATURES: readonly string[] = ["subgroups"];

/**
 * Name, driver and features of the adapter; empty without one. The name is the browser's
 * description, or else vendor and architecture, such as `apple metal-3`.
 */
export async function adapterHints(build: string): Promise<AdapterHints> {
  const { gpu } = navigator as { gpu?: Gpu };
  try {
    const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return {};
    const { info } = adapter;
    const name = info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(" ");
    const features = EXTRA_FEATURES.filter((feature) => adapter.features.has(feature));
    // Measurements hold for one version of the browser, build of the engine and number of
    // processors.
    const driver = `${navigator.userAgent}, ${build}, ${navigator.hardwareConcurrency} processors`;
    // Not every browser reports that an adapter is a software fallback.
    const isSoftware = /swiftshader|llvmpipe|basic render/i.test(name);
    return { ...(name && { name }), ...(isSoftware && { kind: "cpu" as const }), driver, features };
  } catch {
    return {};
  }
}
