/** What the engine's GPU library does not tell of an adapter in browsers: its name, and some features. */

/** What the engine wants to know besides. */
export interface AdapterHints {
  name?: string;
  driver?: string;
  kind?: "cpu";
  features?: string[];
}

interface AdapterInfo {
  vendor?: string;
  architecture?: string;
  device?: string;
  description?: string;
}

/** What this file needs of WebGPU's types, which the DOM library lacks. */
interface Adapter {
  info?: AdapterInfo;
  features: ReadonlySet<string>;
}

interface Gpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<Adapter | null>;
}

/** Features that the GPU library knows nothing of, and that every device is to have where it can. */
export const EXTRA_FEATURES: readonly string[] = ["subgroups"];

/**
 * The best name the browser gives: a description where it tells one, else vendor and
 * architecture, such as `apple metal-3`. Nothing without an adapter. `build` is the engine's.
 */
export async function adapterHints(build: string): Promise<AdapterHints> {
  const { gpu } = navigator as { gpu?: Gpu };
  try {
    const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return {};
    const { info } = adapter;
    const name = info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(" ");
    const features = EXTRA_FEATURES.filter((feature) => adapter.features.has(feature));
    // The browser is what its drivers' speed goes by, the build and processors the CPU's.
    const driver = `${navigator.userAgent}, ${build}, ${navigator.hardwareConcurrency} processors`;
    // Not every browser says that such an adapter is but a fallback.
    const isSoftware = /swiftshader|llvmpipe|basic render/i.test(name);
    return { ...(name && { name }), ...(isSoftware && { kind: "cpu" as const }), driver, features };
  } catch {
    return {};
  }
}
