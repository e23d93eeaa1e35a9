/**
 * Compilation of pipelines before the engine requests them, on idle processors. The browser caches
 * pipelines, so the engine's own request for an equal one is fast.
 */

import { EXTRA_FEATURES } from "./adapter.js";

/** The part of WebGPU's types that is used here; the DOM library has none. */
interface Device {
  createShaderModule(descriptor: { code: string }): object;
  createBindGroupLayout(descriptor: { entries: object[] }): object;
  createPipelineLayout(descriptor: { bindGroupLayouts: object[] }): object;
  createComputePipelineAsync(descriptor: object): Promise<object>;
}

interface Adapter {
  features: ReadonlySet<string>;
  requestDevice(descriptor?: { requiredFeatures?: readonly string[] }): Promise<Device>;
}

/** A pipeline as the engine describes it. */
interface PipelineText {
  label: string;
  code: string;
  constants: Record<string, number>;
  /** The buffer types of each bind group. */
  groups: string[][];
}

/** `GPUShaderStage.COMPUTE`. */
const GPU_COMPUTE = 4;

/** The device that the engine opened last. */
let device: Device | undefined;
/** Pipelines by their description; browsers drop those that nothing references. */
const pipelines = new Map<string, Promise<object>>();
/** Compilations that wait for a slot. */
const waiting: (() => void)[] = [];
let running = 0;
let maxRunning = Infinity;

/** Hooks `requestDevice` to learn the engine's device and to request `EXTRA_FEATURES` for it. */
export function observeDevices(): void {
  const { GPUAdapter } = globalThis as { GPUAdapter?: { prototype: Adapter } };
  if (!GPUAdapter) return;
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const extra = EXTRA_FEATURES.filter((feature) => this.features.has(feature));
    const requiredFeatures = [...(descriptor?.requiredFeatures ?? []), ...extra];
    device = await requestDevice.call(this, { ...descriptor, requiredFeatures });
    return device;
  };
}

function startWaiting(): void {
  while (running < maxRunning && waiting.length > 0) {
    running += 1;
    waiting.shift()?.();
  }
}

/** Sets how many pipelines may be compiled at a time. */
export function compileAtMost(count: number): void {
  maxRunning = count;
  startWaiting();
}

async function withSlot<T>(job: () => Promise<T>): Promise<T> {
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
    startWaiting();
  });
  try {
    return await job();
  } finally {
    running -= 1;
    startWaiting();
  }
}

/**
 * Compiles pipelines that the engine will request. Failures are ignored here: the engine's own
 * request fails too, and reports them.
 */
export async function compileAhead(json: string): Promise<void> {
  const opened = device;
  if (!opened) return;
  const modules = new Map<string, object>();
  const compile = ({ label, code, constants, groups }: PipelineText): Promise<object> => {
    const module = modules.get(code) ?? opened.createShaderModule({ code });
    modules.set(code, module);
    const entries = (types: string[]): object[] =>
      types.map((type, binding) => ({ binding, visibility: GPU_COMPUTE, buffer: { type } }));
    const bindGroupLayouts = groups.map((types) =>
      opened.createBindGroupLayout({ entries: entries(types) }),
    );
    const layout = opened.createPipelineLayout({ bindGroupLayouts });
    return opened.createComputePipelineAsync({
      label,
      layout,
      compute: { module, entryPoint: "main", constants },
    });
  };
  const all = (JSON.parse(json) as PipelineText[]).map((text) => {
    const key = JSON.stringify(text);
    const pipeline = pipelines.get(key) ?? withSlot(() => compile(text));
    pipelines.set(key, pipeline);
    return pipeline;
  });
  await Promise.allSettled(all);
}

/** Releases the pipelines, once the engine has its own or there is no engine. */
export function forgetPipelines(): void {
  pipelines.clear();
  waiting.length = 0;
  device = undefined;
}
