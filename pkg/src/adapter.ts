/** The adapter's name, which the engine's GPU library does not hand on in browsers. */

interface AdapterInfo {
  vendor?: string;
  architecture?: string;
  device?: string;
  description?: string;
}

/** What this file needs of WebGPU's types, which the DOM library lacks. */
interface Gpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<{ info?: AdapterInfo } | null>;
}

/**
 * The best name the browser gives: a description where it tells one, else vendor and
 * architecture, such as `apple metal-3`. `null` without an adapter or a name.
 */
export async function adapterName(): Promise<string | null> {
  const { gpu } = navigator as { gpu?: Gpu };
  try {
    const info = (await gpu?.requestAdapter({ powerPreference: "high-performance" }))?.info;
    return info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(" ") || null;
  } catch {
    return null;
  }
}
